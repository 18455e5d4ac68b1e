"""A project takes shared resources of the database, and nobody else waits for long."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import psycopg
import pytest

from tests.attacks.conftest import Arena
from tests.platform import eventually

ECHO = "def handler(payload, zmesh):\n    return payload\n"
UNTIMED = "set statement_timeout = 0; set idle_in_transaction_session_timeout = 0"


@pytest.fixture(scope="module", autouse=True)
def functions(arena: Arena) -> None:
    for project in (arena.attacker, arena.victim):
        project.deploy("echo", ECHO)


@contextmanager
def holding(arena: Arena, *statements: str) -> Iterator[psycopg.Connection[object]]:
    """A session of the attacker in a transaction that it does not end, whatever its role's settings say."""
    with psycopg.connect(arena.attacker.database_url, autocommit=True) as connection:
        connection.execute(UNTIMED)
        connection.execute("begin")
        for statement in statements:
            connection.execute(statement.encode())
        yield connection
        connection.close()


def is_open(connection: psycopg.Connection[object]) -> bool:
    try:
        connection.execute("select 1")
    except psycopg.OperationalError:
        return False
    return True


def test_a_lock_on_a_table_of_all_stops_no_schedule(arena: Arena) -> None:
    with holding(arena, "lock table zmesh.schedules in access exclusive mode"):
        [row] = arena.victim.sql(
            "insert into zmesh.schedules (function, cron) values ('echo', '1 seconds') returning id"
        )
        fired = "select 1 from zmesh.schedule_runs where schedule_id = %s and outcome = 'fired'"
        eventually(lambda: arena.database.rows(fired, row["id"]), "the schedule's first run")
        arena.victim.sql("delete from zmesh.schedules")


def test_an_idempotency_key_in_an_open_transaction_holds_up_nobody_else(arena: Arena) -> None:
    insert = "insert into zmesh.invocations (function, idempotency_key) values ('echo', 'held')"
    with holding(arena, insert), ThreadPoolExecutor(12) as pool:
        headers = {"idempotency-key": "held", "prefer": "respond-async"}
        own = [pool.submit(arena.attacker.invoke, "echo", {}, headers=headers) for _ in range(10)]
        answers = [arena.victim.invoke("echo", {"n": n}) for n in range(20)]

        assert [answer.json()["result"] for answer in answers] == [{"n": n} for n in range(20)]
        responses = [call.result() for call in own]
        codes = {response.status_code for response in responses}  # 200 for those that come after the end
        assert {202} <= codes <= {200, 202}, "keys of SQL and of HTTP are apart"
        assert len({response.json()["invocation_id"] for response in responses}) == 1


def test_a_project_that_takes_all_locks_there_are_is_stopped(arena: Arena) -> None:
    with holding(arena, "savepoint before") as session:
        with pytest.raises(psycopg.OperationalError):  # the table of locks is full, or the session was ended
            session.execute("select pg_advisory_lock(n) from generate_series(1, 10000000) n")
        answers = [arena.victim.invoke("echo").status_code for _ in range(3)]
        eventually(lambda: arena.victim.invoke("echo").status_code == 200, "an answer", 10)

        assert set(answers) <= {200, 503}, "who comes meanwhile is asked to come again"
        eventually(lambda: not is_open(session), "the end of the session")


def test_a_project_that_takes_all_connections_leaves_the_platform_its_own(arena: Arena) -> None:
    taken: list[psycopg.Connection[object]] = []
    with suppress(psycopg.OperationalError):
        while True:
            taken.append(psycopg.connect(arena.attacker.database_url))

    arena.database.rows(
        "select pg_terminate_backend(pid) from pg_stat_activity where usename in ('zmesh_api', 'zmesh_listener')"
    )
    results = [arena.victim.invoke("echo", {"n": n}) for n in range(5)]

    assert [answer.json().get("result") for answer in results] == [{"n": n} for n in range(5)]
    for connection in taken:
        connection.close()


def test_a_project_that_waits_for_everything_it_does_leaves_slots_to_the_work_of_others(arena: Arena) -> None:
    """An insert may name a reply channel, and so go ahead of everything without a waiting caller."""
    arena.attacker.deploy("slow", "import time\ndef handler(payload, zmesh):\n    time.sleep(0.5)\n")
    arena.attacker.sql(
        "insert into zmesh.invocations (function, reply_channel)"
        " select 'slow', 'zmesh_i_' || md5(n::text) from generate_series(1, 1000) n"
    )
    id = arena.victim.enqueue("echo")

    ended = arena.victim.ended(id)
    left = arena.database.value("select count(*) from zmesh.queue where function = 'slow'")
    arena.attacker.request("DELETE", "/functions/slow")

    assert ended["status"] == "success"
    assert left > 500
