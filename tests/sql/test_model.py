"""The queue against a model of it: any order of inserts, claims, ends, losses, cancellations and changed limits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, NamedTuple
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from psycopg.rows import dict_row

from tests.databases import Database, Row
from tests.sql.model import FINAL, Function, Invocation, Queue

START = datetime(2026, 1, 5, 12, tzinfo=UTC)
SLOTS = 4
LEASE = timedelta(seconds=60)
PROJECTS = ("shop", "blog")
FUNCTIONS = (("greet", "shop", None), ("mail", "shop", 2), ("post", "blog", None))
RETRY_BASE = timedelta(seconds=1)
CLOCK = """
create table zmesh.test_clock as select timestamptz '2026-01-05 12:00Z' as at, false as slow;
grant select on zmesh.test_clock to public;
create or replace function zmesh.now() returns timestamptz language sql volatile parallel safe
begin atomic select at from zmesh.test_clock; end;
create or replace function zmesh.is_slow(p_begun timestamptz) returns boolean language sql volatile parallel safe
begin atomic select slow from zmesh.test_clock; end;
"""
EMPTY = """
truncate zmesh.invocations, zmesh.waiters, zmesh.idempotency_keys, zmesh.listeners;
update zmesh.functions set max_concurrency_per_key = 1, max_concurrency = case slug when 'mail' then 2 end;
update zmesh.projects set max_running = 3;
update zmesh.settings set max_running = 5;
"""
any_of = st.integers(min_value=0, max_value=999)
few = st.integers(min_value=1, max_value=4)


class Wish(NamedTuple):
    """An invocation that somebody asks for; times in seconds from now."""

    function: int
    priority: int
    max_attempts: int
    delay: int
    expiry: int | None
    key: str | None
    waited: bool
    once: str | None


def mostly(usual: Any, *others: Any) -> st.SearchStrategy[Any]:
    """One value in about two of three cases."""
    return st.sampled_from([usual] * 2 * len(others) + list(others))


wish = st.builds(
    Wish,
    function=st.integers(0, len(FUNCTIONS) - 1),
    priority=st.integers(-1, 1),
    max_attempts=st.integers(1, 3),
    delay=mostly(0, 20),
    expiry=mostly(None, 30),
    key=mostly(None, "k", "l"),
    waited=mostly(False, True),
    once=mostly(None, "x", "y"),
)


class Connections:
    """One open connection for each role."""

    def __init__(self, database: Database) -> None:
        self.admin = self._connect(database.admin_url)
        self.listener = self._connect(database.listener_url)
        self.projects: dict[str, psycopg.Connection[Row]] = {}
        self.project_ids: dict[str, UUID] = {}
        for name in PROJECTS:
            project = database.project(name)
            self.project_ids[name] = project.id
            self.projects[name] = self._connect(project.url)
            for function, owner, _ in FUNCTIONS:
                if owner == name:
                    database.function(project, function, retry_base_ms=RETRY_BASE // timedelta(milliseconds=1))

    @staticmethod
    def _connect(url: str) -> psycopg.Connection[Row]:
        return psycopg.connect(url, autocommit=True, row_factory=dict_row)

    def close(self) -> None:
        for connection in (self.admin, self.listener, *self.projects.values()):
            connection.close()


class QueueMachine(RuleBasedStateMachine):
    """Each rule does the same to PostgreSQL and to the model; the invariant compares the two."""

    connections: ClassVar[Connections]

    @initialize(slow=st.booleans())
    def begin(self, slow: bool) -> None:
        self.now = START
        self.claimed: list[tuple[UUID, Row]] = []
        self.model = Queue(5, dict.fromkeys(PROJECTS, 3), [Function(*values) for values in FUNCTIONS])
        self.connections.admin.execute(EMPTY)
        self.connections.admin.execute(
            "update zmesh.horizon set ready_since = default, running_since = default, looked_at = default"
        )
        self.connections.admin.execute("update zmesh.test_clock set slow = %s", (slow,))
        self.set_clock()
        self.register()

    def ask(self, query: str, *values: Any, admin: bool = False) -> list[Row]:
        connection = self.connections.admin if admin else self.connections.listener
        return connection.execute(query.encode(), values).fetchall()

    def set_clock(self) -> None:
        self.connections.admin.execute("update zmesh.test_clock set at = %s", (self.now,))

    def pick(self, index: int) -> Invocation:
        """One of all invocations: the later ones by the lower numbers, since they are the livelier."""
        invocations = list(reversed(self.model.invocations.values()))
        return invocations[index % len(invocations)]

    def choose_listener(self, index: int) -> UUID:
        return list(self.model.leases)[index % len(self.model.leases)]

    def any_invocation(self) -> bool:
        return bool(self.model.invocations)

    def any_listener(self) -> bool:
        return bool(self.model.leases)

    # What users do

    @rule(wishes=st.lists(wish, min_size=1, max_size=9))
    def enqueue(self, wishes: list[Wish]) -> None:
        for wish in wishes:
            self.now += timedelta(milliseconds=1)
            self.set_clock()
            self.enqueue_one(wish)

    def enqueue_one(self, wish: Wish) -> None:
        function = self.model.functions[wish.function]
        run_at = self.now + timedelta(seconds=wish.delay)
        expires_at = None if wish.expiry is None else self.now + timedelta(seconds=wish.expiry)
        row = (
            self.connections.projects[function.project]
            .execute(
                "insert into zmesh.invocations (function, priority, max_attempts, run_at, expires_at, concurrency_key,"
                " reply_channel, idempotency_key) values (%s, %s, %s, %s, %s, %s, %s, %s) returning id",
                (
                    *(function.name, wish.priority, wish.max_attempts, run_at, expires_at, wish.key),
                    *(f"zmesh_i_{'0' * 32}" if wish.waited else None, wish.once),
                ),
            )
            .fetchone()
        )
        known = wish.once is not None and (function.name, wish.once) in self.model.keys
        assert (row is None) == known
        if row is None:
            return
        if wish.once is not None:
            self.model.keys[function.name, wish.once] = row["id"]
        self.model.invocations[row["id"]] = Invocation(
            *(row["id"], function, wish.key, wish.waited, wish.priority, wish.max_attempts, run_at, expires_at)
        )

    @precondition(any_invocation)
    @rule(index=any_of)
    def cancel(self, index: int) -> None:
        one = self.pick(index)
        self.ask("select zmesh.cancel(array[%s::uuid])", one.id, admin=True)
        if one.status == "queued":
            one.end("cancelled")
        elif one.status == "running":
            one.cancel_requested = True

    @precondition(any_invocation)
    @rule(index=any_of)
    def retry(self, index: int) -> None:
        one = self.pick(index)
        again = self.ask("select zmesh.retry(array[%s::uuid])", one.id, admin=True)
        assert len(again) == (one.status in ("error", "timeout", "cancelled"))
        if again:
            one.status, one.max_attempts, one.run_at = "queued", one.attempt + 1, self.now
            one.waited, one.expires_at, one.cancel_requested = False, None, False

    @rule(limit=few, what=st.sampled_from(["platform", *PROJECTS]))
    def limit(self, limit: int, what: str) -> None:
        if what == "platform":
            self.model.max_running = limit
            self.connections.admin.execute("update zmesh.settings set max_running = %s", (limit,))
        else:
            self.model.project_limits[what] = limit
            self.connections.admin.execute(
                "update zmesh.projects set max_running = %s where id = %s", (limit, self.connections.project_ids[what])
            )

    @rule(function=st.integers(0, len(FUNCTIONS) - 1), limit=st.one_of(st.none(), few), per_key=few)
    def limit_function(self, function: int, limit: int | None, per_key: int) -> None:
        chosen = self.model.functions[function]
        chosen.max_concurrency, chosen.max_concurrency_per_key = limit, per_key
        self.connections.admin.execute(
            "update zmesh.functions set max_concurrency = %s, max_concurrency_per_key = %s where slug = %s",
            (limit, per_key, chosen.name),
        )

    @rule(seconds=st.sampled_from([1, 10, 40, 70]))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        self.set_clock()

    # What listeners do

    @precondition(lambda self: len(self.model.leases) < 3)
    @rule()
    def register(self) -> None:
        [row] = self.ask("select zmesh.register_listener('model', %s, %s) as id", SLOTS, LEASE)
        self.model.leases[row["id"]] = self.now + LEASE

    @precondition(any_listener)
    @rule(index=any_of)
    def renew(self, index: int) -> None:
        listener = self.choose_listener(index)
        if self.model.leases[listener] <= self.now:
            with pytest.raises(psycopg.Error, match="lease of this listener has run out"):
                self.ask("select zmesh.renew_lease(%s, %s)", listener, LEASE)
            return
        cancelled = self.ask("select zmesh.renew_lease(%s, %s) as id", listener, LEASE)
        assert {row["id"] for row in cancelled} == {i.id for i in self.model.owned_by(listener) if i.cancel_requested}
        self.model.leases[listener] = self.now + LEASE

    @precondition(any_listener)
    @rule(index=any_of, slots=few)
    def claim(self, index: int, slots: int) -> None:
        listener = self.choose_listener(index)
        if self.model.leases[listener] <= self.now:
            with pytest.raises(psycopg.Error, match="lease of this listener has run out"):
                self.ask("select * from zmesh.claim(%s, %s)", listener, slots)
            return
        jobs = self.ask("select * from zmesh.claim(%s, %s)", listener, slots)
        assert len(jobs) <= slots
        started = [self.model.invocations[job["id"]] for job in jobs]
        assert all(one.ready(self.now) for one in started)
        for one, job in zip(started, jobs, strict=True):
            one.start(listener)
            self.claimed.append((listener, job))
        assert list(self.model.exceeded(started)) == []
        left = self.model.could_start(self.now)
        assert not left or len(jobs) == slots, "a slot stays free although something could start"
        for one in started:
            self.check_turns(one, started, left)

    def check_turns(self, one: Invocation, started: list[Invocation], left: list[Invocation]) -> None:
        """Nothing that was left behind should have come before this one, of those started now."""
        callers = sum(i.waited for i in self.model.owned_by(one.owner)) if one.owner else 0
        for other in left:
            assert one.waited or not other.waited or callers >= SLOTS - SLOTS // 4, (
                "background work went before a caller who waits, in more than a quarter of the slots"
            )
            if other.waited != one.waited:
                continue
            if other.function.project == one.function.project:
                assert (-one.priority, one.run_at) <= (-other.priority, other.run_at), "something more urgent was left"
            else:
                mine, theirs = (self.model.in_project(i.function.project) for i in (one, other))
                mine -= sum(i.waited != one.waited and i.function.project == one.function.project for i in started)
                assert mine <= theirs + 1, "another project, with less running, did not get its turn"

    @precondition(lambda self: self.claimed)
    @rule(index=any_of, status=st.sampled_from(["success", "success", "error", "timeout", "cancelled"]))
    def finish(self, index: int, status: str) -> None:
        listener, job = self.claimed[-1 - index % len(self.claimed)]
        one = self.model.invocations[job["id"]]
        outcome = json.dumps({"id": str(one.id), "attempt": job["attempt"], "status": status, "result": 1})
        accepted = self.ask(
            "select zmesh.finish(%s, array[json_populate_record(null::zmesh.outcome, %s)])", listener, outcome
        )
        owned = one.status == "running" and one.owner == listener and one.attempt == job["attempt"]
        assert bool(accepted) == owned, "an end counts if and only if the lease is still its listener's"
        if owned and not one.end(status):
            self.expect_retry(one)

    def expect_retry(self, one: Invocation) -> None:
        [row] = self.ask("select run_at from zmesh.queue where id = %s", one.id, admin=True)
        longest = RETRY_BASE * 2 ** (one.attempt - 1)
        assert self.now + longest / 2 <= row["run_at"] <= self.now + longest
        one.run_at = row["run_at"]

    @rule()
    def reap(self) -> None:
        lost = [listener for listener, ends_at in self.model.leases.items() if ends_at <= self.now]
        [row] = self.ask("select zmesh.reap() as n")
        assert row["n"] == sum(len(self.model.owned_by(listener)) for listener in lost)
        self.forget(lost)

    @precondition(any_listener)
    @rule(index=any_of)
    def leave(self, index: int) -> None:
        listener = self.choose_listener(index)
        self.ask("select zmesh.end_lease(%s)", listener)
        self.forget([listener])

    def forget(self, listeners: list[UUID]) -> None:
        for listener in listeners:
            for one in self.model.owned_by(listener):
                if not one.lose():
                    self.expect_retry(one)
            del self.model.leases[listener]

    @rule()
    def end_expired(self) -> None:
        expired = [
            i
            for i in self.model.invocations.values()
            if i.status == "queued" and i.expires_at is not None and i.expires_at <= self.now
        ]
        [row] = self.ask("select zmesh.end_expired() as n")
        assert row["n"] == len(expired)
        for one in expired:
            one.end("error")

    @invariant()
    def the_database_is_as_the_model(self) -> None:
        rows = self.ask(
            "select id, status, attempt, listener_id, cancel_requested, tableoid = 'zmesh.queue'::regclass as hot,"
            " exists (select from zmesh.waiters w where w.invocation_id = i.id) as waits from zmesh.invocations i",
            admin=True,
        )
        found = {r.pop("id"): r for r in rows}
        assert len(found) == len(rows)
        assert found == {
            i.id: {
                "status": i.status,
                "attempt": i.attempt,
                "listener_id": i.owner,
                "cancel_requested": i.cancel_requested,
                "hot": i.status not in FINAL,
                "waits": i.waited and i.status not in FINAL,
            }
            for i in self.model.invocations.values()
        }


@pytest.fixture
def connections(database: Database) -> Iterator[Connections]:
    connections = Connections(database)
    connections.admin.execute(CLOCK)
    try:
        yield connections
    finally:
        connections.close()


def test_the_queue_behaves_as_its_model(connections: Connections) -> None:
    QueueMachine.connections = connections
    run_state_machine_as_test(
        QueueMachine,
        settings=settings(
            max_examples=50,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
