"""Dead rows that cannot be removed while a session holds an old snapshot: claims pass by them, and miss nothing."""

from __future__ import annotations

from uuid import UUID

import psycopg
import pytest

from tests.databases import Database, TestProject


@pytest.fixture
def project(database: Database) -> TestProject:
    """A project whose claims always look ahead, as they do when a look has been slow."""
    database.rows(
        "create or replace function zmesh.is_slow(p_begun timestamptz) returns boolean"
        " language sql volatile parallel safe return true"
    )
    database.stop_clock("2026-01-05 12:00:00Z")
    project = database.project()
    database.function(project)
    return project


def pages_of_a_claim(database: Database, listener: UUID) -> int:
    """Of the second one of a connection: the first one reads the catalog."""
    with database.connect(database.listener_url) as connection:
        for _ in range(2):
            cursor = connection.execute(
                b"explain (analyze, buffers, format json) select * from zmesh.claim(%s, 1)", (listener,)
            )
            [[plan]] = [row["QUERY PLAN"] for row in cursor.fetchall()]
    return int(plan["Plan"]["Shared Hit Blocks"]) + int(plan["Plan"]["Shared Read Blocks"])


def test_a_claim_reads_no_row_again_that_ended_while_a_snapshot_was_held(
    database: Database, project: TestProject
) -> None:
    listener = database.listener(lease="1 hour")
    database.rows("update zmesh.settings set max_running = 1000")
    database.rows("update zmesh.projects set max_running = 1000")
    with psycopg.connect(database.admin_url) as holder:
        holder.execute("set transaction isolation level repeatable read")
        holder.execute("select 1")
        database.enqueue(project, count=1000)
        assert len(database.claim(listener, 1000)) == 1000
        database.rows("delete from zmesh.queue")
        database.stop_clock("2026-01-05 12:00:10Z")
        database.enqueue(project, count=10)
        assert len(database.claim(listener, 1)) == 1
        database.rows(
            "create or replace function zmesh.look_ahead(p_horizon zmesh.horizon, p_now timestamptz)"
            " returns zmesh.horizon language sql return p_horizon"
        )
        passing_by = pages_of_a_claim(database, listener)
        database.rows("update zmesh.horizon set ready_since = '-infinity', running_since = '-infinity'")
        passing_all = pages_of_a_claim(database, listener)
    assert passing_by * 2 < passing_all


def test_an_insert_of_a_long_transaction_is_found_within_seconds_of_its_commit(
    database: Database, project: TestProject
) -> None:
    listener = database.listener(lease="1 hour")
    with psycopg.connect(project.url) as slow:
        slow.execute("insert into zmesh.invocations (function) values ('greet')")
        database.stop_clock("2026-01-05 12:00:10Z")
        database.enqueue(project)
        assert len(database.claim(listener)) == 1
    late = database.value("select run_at from zmesh.queue where status = 'queued'")
    assert late < database.value("select ready_since from zmesh.horizon")
    database.stop_clock("2026-01-05 12:00:15Z")
    assert len(database.claim(listener)) == 1


def test_runs_that_started_long_ago_still_count_toward_limits(database: Database, project: TestProject) -> None:
    database.rows("update zmesh.settings set max_running = 2")
    listener = database.listener(lease="1 hour")
    database.enqueue(project, count=5)
    [first] = database.claim(listener, 1)
    database.stop_clock("2026-01-05 12:10:00Z")
    assert len(database.claim(listener)) == 1
    for minute in (20, 30):
        database.stop_clock(f"2026-01-05 12:{minute}:00Z")
        assert database.claim(listener) == []
    database.finish(listener, first)
    assert len(database.claim(listener)) == 1


def test_a_clock_that_is_set_back_hides_nothing(database: Database, project: TestProject) -> None:
    database.rows("update zmesh.settings set max_running = 2")
    listener = database.listener(lease="1 day")
    database.enqueue(project)
    assert len(database.claim(listener)) == 1
    database.stop_clock("2026-01-05 11:00:00Z")
    database.enqueue(project, count=2)
    assert len(database.claim(listener)) == 1
    assert database.claim(listener) == []
