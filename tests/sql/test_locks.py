"""What changes the same invocations at the same time waits, and never deadlocks: every pair of statements."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any
from uuid import UUID

import psycopg
import pytest

from tests.databases import Database, TestProject
from tests.platform import eventually

ROUNDS = 3
Action = Callable[["Side"], None]


@dataclass
class Side:
    """One of the two sessions of a pair, and the rows of this round in an order of its own."""

    connection: psycopg.Connection[tuple[Any, ...]]
    project: TestProject
    listener: UUID
    ids: list[UUID]

    def run(self, query: str, *values: object) -> None:
        self.connection.execute(query.encode(), values)


def claim(side: Side) -> None:
    side.run("select count(*) from zmesh.claim(%s, 20)", side.listener)


def finish(side: Side) -> None:
    side.run(
        "select zmesh.finish(%s, array(select row(i, 1, 'error', null, null, null, null, 1, 1, 1)::zmesh.outcome"
        "                                from unnest(%s::uuid[]) i))",
        side.listener,
        side.ids,
    )


def cancel(side: Side) -> None:
    side.run("select zmesh.cancel(%s::uuid[])", side.ids)


def retry(side: Side) -> None:
    side.run("select count(*) from zmesh.retry(%s::uuid[])", side.ids)


def renew(side: Side) -> None:
    side.run("select count(*) from zmesh.renew_lease(%s, interval '1 minute')", side.listener)


def reap(side: Side) -> None:
    side.run("update zmesh.listeners set lease_expires_at = zmesh.now() where name = 'dying'")
    side.run("select zmesh.reap()")


def leave(side: Side) -> None:
    dying = "select id from zmesh.listeners where name = 'dying' limit 1"
    side.run(f"select zmesh.end_lease(({dying}))")


def expire(side: Side) -> None:
    side.run("select zmesh.end_expired()")


def tick(side: Side) -> None:
    side.run("update zmesh.schedules set next_due_at = zmesh.now()")
    side.run("select zmesh.tick()")


def maintain(side: Side) -> None:
    side.run("update zmesh.upkeep set last_run_at = null")
    side.run("select zmesh.maintain()")


def delete_function(side: Side) -> None:
    side.run("delete from zmesh.functions where slug = 'doomed'")


def insert(side: Side) -> None:
    """As the API does: in the order of the keys, which are the same on both sides."""
    side.run(
        "insert into zmesh.invocations (id, project_id, function, source, reply_channel, idempotency_key)"
        " select i, %s, 'greet', 'api', 'zmesh_r_' || repeat('0', 32), n"
        "   from unnest(%s::uuid[]) with ordinality w (i, n) order by n on conflict do nothing",
        side.project.id,
        [UUID(int=id.int ^ 1) for id in sorted(side.ids)],
    )


ACTIONS: list[Action] = [
    *(claim, finish, cancel, retry, renew, reap, leave, expire, tick, maintain, delete_function, insert),
]


PREPARE = """
truncate zmesh.queue, zmesh.history, zmesh.idempotency_keys, zmesh.waiters, zmesh.listeners;
insert into zmesh.functions (project_id, name, language, code) values (:project, 'doomed', 'python', '')
    on conflict do nothing;
insert into zmesh.schedules (project_id, function_id, name, cron)
    select f.project_id, f.id, n::text, '* * * * *' from zmesh.functions f, generate_series(1, 5) n
     where f.slug = 'doomed'
    on conflict do nothing;
insert into zmesh.invocations (project_id, function, max_attempts)
    select :project, function, 1 from unnest(array['greet', 'doomed']) function, generate_series(1, 20);
select count(*) from zmesh.claim(zmesh.register_listener('test', 9, '1 hour'), 9);
select zmesh.finish(l.id, array(select row(q.id, 1, 'error', null, null, null, null, 1, 1, 1)::zmesh.outcome
                                  from zmesh.queue q where q.status = 'running'))
  from zmesh.listeners l;
insert into zmesh.invocations (project_id, function, max_attempts)
    select :project, function, 3 from unnest(array['greet', 'doomed']) function, generate_series(1, 20);
select count(*) from zmesh.listeners l cross join zmesh.claim(l.id, 20);
select count(*) from zmesh.claim(zmesh.register_listener('dying', 9, '1 hour'), 20);
insert into zmesh.invocations (project_id, function, expires_at)
    select :project, 'greet', '2026-01-01' from generate_series(1, 5);
"""


HOLD = """
select from zmesh.queue where id = (select id from zmesh.queue order by id offset 30 limit 1) for update;
select from zmesh.history where id = (select id from zmesh.history order by id offset 4 limit 1) for update;
"""


@dataclass
class Race:
    """Two sessions, and a third that prepares their rounds."""

    database: Database
    project: TestProject
    sessions: list[psycopg.Connection[tuple[Any, ...]]]

    def run(self, pair: tuple[Action, Action]) -> list[str]:
        """Both at once; what failed and how."""
        *racing, preparing = self.sessions
        preparing.execute(PREPARE.replace(":project", f"'{self.project.id}'").encode())
        ids = [id for (id,) in preparing.execute("select id from zmesh.invocations").fetchall()]
        [(listener,)] = preparing.execute("select id from zmesh.listeners where name = 'test'").fetchall()

        def act(session: psycopg.Connection[tuple[Any, ...]], action: Action) -> str | None:
            side = Side(session, self.project, listener, random.sample(ids, len(ids)))
            try:
                action(side)
            except psycopg.errors.RaiseException:
                pass  # a refusal of ours: what it is about has just gone
            except psycopg.Error as error:
                return f"{action.__name__} of {[a.__name__ for a in pair]}: {error}"
            return None

        with ThreadPoolExecutor(2) as threads:
            with preparing.transaction():
                preparing.execute(HOLD)
                futures = [threads.submit(act, *one) for one in zip(racing, pair, strict=True)]
                # Each has then locked what it locks before the row that is held.
                eventually(
                    lambda: all(
                        future.done() or self.waits(session) for future, session in zip(futures, racing, strict=True)
                    ),
                    "both sessions to wait or end",
                )
            return [failure for future in futures if (failure := future.result())]

    def waits(self, session: psycopg.Connection[tuple[Any, ...]]) -> bool:
        query = "select exists (select from pg_locks where pid = %s and not granted)"
        [(waits,)] = self.sessions[-1].execute(query, (session.info.backend_pid,)).fetchall()
        return bool(waits)


@pytest.fixture
def race(database: Database) -> Iterator[Race]:
    """Autocommit sessions that look for a deadlock soon."""
    project = database.project()
    database.function(project)
    sessions = [
        psycopg.connect(database.admin_url, autocommit=True, options="-c deadlock_timeout=50ms") for _ in range(3)
    ]
    try:
        yield Race(database, project, sessions)
    finally:
        for session in sessions:
            session.close()


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.__name__)
def test_no_pair_of_statements_deadlocks(race: Race, action: Action) -> None:
    others = [b for a, b in combinations_with_replacement(ACTIONS, 2) if a is action]
    assert [failure for other in others for _ in range(ROUNDS) for failure in race.run((action, other))] == []
