"""Functions that call functions: whose place they run in, how deep they go, and how long a chain may be."""

from __future__ import annotations

import secrets
from typing import Any
from uuid import UUID

import psycopg
import pytest

from tests.databases import Database, Row, TestProject


@pytest.fixture
def project(database: Database) -> TestProject:
    project = database.project()
    for name in ("a", "b"):
        database.function(project, name)
    return project


def call(database: Database, project: TestProject, function: str, parent: UUID, **columns: Any) -> UUID:
    """What zmesh.invoke() inserts."""
    channel = f"zmesh_i_{secrets.token_hex(16)}"
    [id] = database.enqueue(project, function, parent_id=parent, reply_channel=channel, max_attempts=1, **columns)
    return id


def claimed(database: Database, listener: UUID, slots: int) -> dict[UUID, bool]:
    """What a claim started, and whether it was lent a place."""
    return {job["id"]: job["lent"] for job in database.claim(listener, slots)}


def running(database: Database, project: TestProject, function: str = "a", count: int = 1) -> tuple[UUID, list[UUID]]:
    """A listener and what it runs."""
    ids, listener = database.enqueue(project, function, count=count), database.listener(count)
    assert len(database.claim(listener, count)) == count
    return listener, ids


@pytest.mark.parametrize("table", ["settings", "projects"])
def test_a_called_function_starts_in_its_callers_place_when_all_are_taken(
    database: Database, project: TestProject, table: str
) -> None:
    database.rows(f"update zmesh.{table} set max_running = 2")
    listener, [one, two] = running(database, project, count=2)
    called = [call(database, project, "b", parent) for parent in (one, one, two)]
    database.enqueue(project, "b")
    assert claimed(database, listener, 0) == {called[0]: True, called[2]: True}
    assert claimed(database, listener, 5) == {}


def test_a_run_lends_its_place_to_one_at_a_time(database: Database, project: TestProject) -> None:
    listener, [parent] = running(database, project)
    first, second = call(database, project, "b", parent), call(database, project, "b", parent)
    [job] = database.claim(listener, 0)
    assert job["id"] == first
    assert claimed(database, listener, 0) == {}
    database.finish(listener, job)
    assert claimed(database, listener, 0) == {second: True}


def test_the_limits_count_all_but_those_that_wait(database: Database, project: TestProject) -> None:
    database.rows("update zmesh.projects set max_running = 2")
    listener, [parent] = running(database, project)
    called = call(database, project, "b", parent)
    database.enqueue(project, "a", count=3)
    started = claimed(database, listener, 10)
    assert len(started) == 2
    assert started[called]
    assert claimed(database, listener, 10) == {}


def test_another_listener_runs_a_called_function_in_a_slot_of_its_own(database: Database, project: TestProject) -> None:
    _, [parent] = running(database, project)
    called = call(database, project, "b", parent)
    other = database.listener()
    assert claimed(database, other, 0) == {}
    assert claimed(database, other, 1) == {called: False}


def test_a_function_with_a_limit_of_one_can_call_itself_and_nobody_else_gets_in(
    database: Database, project: TestProject
) -> None:
    database.rows("update zmesh.functions set max_concurrency = 1")
    listener, [parent] = running(database, project)
    called = call(database, project, "a", parent)
    database.enqueue(project, "a")
    assert claimed(database, listener, 5) == {called: True}


def test_the_limit_of_a_called_function_holds(database: Database, project: TestProject) -> None:
    database.rows("update zmesh.functions set max_concurrency = 1 where slug = 'b'")
    listener, parents = running(database, project, count=3)
    called = {call(database, project, "b", parent) for parent in parents}
    [job] = database.claim(listener, 0)
    assert job["id"] in called
    assert claimed(database, listener, 5) == {}
    database.finish(listener, job)
    assert len(claimed(database, listener, 0)) == 1


def test_a_called_function_that_cannot_start_ends_with_the_time_of_its_caller(
    database: Database, project: TestProject
) -> None:
    database.stop_clock("2026-01-05 12:00:00Z")
    database.rows("update zmesh.functions set max_concurrency = 1 where slug = 'b'")
    _, [parent] = running(database, project)
    running(database, project, "b")
    called = call(database, project, "b", parent)
    assert database.invocation(called)["expires_at"].isoformat() == "2026-01-05T12:00:10+00:00"
    database.stop_clock("2026-01-05 12:00:11Z")
    database.rows("select zmesh.end_expired()")
    assert database.invocation(called)["error"]["type"] == "expired"


def nested(database: Database, project: TestProject, levels: int) -> UUID:
    """The innermost of this many invocations that call each other."""
    listener, [id] = running(database, project)
    for level in range(levels):
        id = call(database, project, "ab"[level % 2], id)
        assert claimed(database, listener, 0) == {id: True}
    return id


def test_calls_nest_to_the_limit_and_the_error_names_the_chain(database: Database, project: TestProject) -> None:
    database.rows("update zmesh.settings set max_depth = 3")
    innermost = nested(database, project, 3)
    assert database.invocation(innermost)["depth"] == 3
    with pytest.raises(psycopg.DatabaseError, match="4 levels deep, and 3 are allowed: a → a → b → a → b") as error:
        call(database, project, "b", innermost)
    assert error.value.sqlstate == "ZM508"


def test_the_depth_comes_from_the_run_and_not_from_what_it_claims(database: Database, project: TestProject) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        database.enqueue(project, "a", depth=0)
    with pytest.raises(psycopg.DatabaseError, match="does not run any more"):
        call(database, project, "b", UUID(int=7))
    [queued] = database.enqueue(project, "a")
    with pytest.raises(psycopg.DatabaseError, match="does not run any more"):
        call(database, project, "b", queued)
    other = database.project("blog")
    database.function(other, "a")
    with pytest.raises(psycopg.DatabaseError, match="does not run any more"):
        call(database, other, "a", nested(database, project, 0))


def inserted_by_run(database: Database, project: TestProject, run: UUID, delay: str = "0") -> Row:
    """What a plain INSERT of the code that runs makes: its connection says which run it is of."""
    url = f"{project.url}?options=-c%20zmesh.invocation_id%3D{run}"
    return database.row(
        "insert into zmesh.invocations (function, run_at) values ('a', now() + %s::interval) returning *",
        delay,
        url=url,
    )


def test_a_plain_insert_of_a_run_counts_as_started_by_it(database: Database, project: TestProject) -> None:
    run = nested(database, project, 2)
    row = inserted_by_run(database, project, run)
    assert (row["parent_id"], row["source"], row["depth"], row["generation"]) == (run, "function", 0, 1)


def test_a_chain_of_functions_that_enqueue_each_other_ends_unless_they_take_their_time(
    database: Database, project: TestProject
) -> None:
    database.rows("update zmesh.settings set max_generations = 3")
    listener, [run] = running(database, project)
    for generation in (1, 2, 3):
        row = inserted_by_run(database, project, run)
        assert row["generation"] == generation
        run = row["id"]
        assert claimed(database, listener, 1) == {run: False}
    with pytest.raises(psycopg.DatabaseError, match="invocation number 5 in a chain"):
        inserted_by_run(database, project, run)
    assert inserted_by_run(database, project, run, "2 seconds")["generation"] == 0


def test_a_cycle_through_a_table_trigger_ends_as_well(database: Database, project: TestProject) -> None:
    database.rows("update zmesh.settings set max_generations = 1")
    database.rows("create table orders (n int)", url=project.url)
    database.rows("select zmesh.on_change('orders', 'a', '{INSERT}')", url=project.url)
    listener, [run] = running(database, project)

    def change(by: UUID) -> None:
        url = f"{project.url}?options=-c%20zmesh.invocation_id%3D{by}"
        database.rows("insert into orders values (1)", url=url)

    change(run)
    [second] = claimed(database, listener, 1)
    assert database.invocation(second)["parent_id"] == run
    change(second)  # the write itself succeeds, with a warning in place of a third invocation
    assert database.value("select count(*) from orders", url=project.url) == 2
    assert database.value("select count(*) from zmesh.invocations where parent_id = %s", second) == 0


def test_what_was_inserted_for_a_run_that_has_ended_has_no_parent(database: Database, project: TestProject) -> None:
    [run] = database.enqueue(project, "a")
    row = inserted_by_run(database, project, run)
    assert (row["parent_id"], row["source"]) == (None, "sql")


def test_depth_and_trace_are_kept_in_history(database: Database, project: TestProject) -> None:
    listener, [parent] = running(database, project)
    called = call(database, project, "b", parent, traceparent=f"00-{'a' * 32}-{'b' * 16}-01")
    [job] = database.claim(listener, 0)
    database.finish(listener, job)
    row = database.invocation(called)
    assert (row["depth"], row["parent_id"]) == (1, parent)
    assert row["traceparent"] == f"00-{'a' * 32}-{'b' * 16}-01"
    with pytest.raises(psycopg.errors.CheckViolation):
        database.enqueue(project, "a", traceparent="00-1-2-3")
