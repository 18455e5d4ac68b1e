"""Workers of autovacuum, and what keeps them from the platform's tables."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from tests.autovacuum import (
    SLEEPY,
    eager_autovacuum,
    neglect,
    reloptions,
    slow_down,
    summarizing,
    trap,
    trap_by_ranges,
    trap_by_summaries,
    trapped,
    vacuumed,
)
from tests.databases import Database
from tests.platform import eventually


@pytest.fixture
def eager(server: str) -> Iterator[None]:
    with eager_autovacuum(server):
        yield


@pytest.mark.usefixtures("eager")
def test_a_worker_that_a_projects_index_expression_keeps_is_ended(database: Database) -> None:
    project = database.project()
    for table in ("trap", "trap_2"):
        trap(database, table, project)
    database.rows("create table trap_without (id integer)", url=project.url)
    eventually(lambda: trapped(database), "a worker in the trap")

    patient = database.rows("select zmesh.end_slow_workers('1 hour')", url=database.listener_url)
    [said] = database.rows("select zmesh.end_slow_workers('0 s') as said", url=database.listener_url)

    assert patient == []
    assert project.role in said["said"]
    eventually(lambda: not trapped(database), "the end of the worker")
    off = ["autovacuum_enabled=off"]
    assert reloptions(database) == {"trap": off, "trap_2": off, "trap_without": None}


@pytest.mark.usefixtures("eager")
def test_a_worker_that_a_projects_range_type_keeps_is_ended(database: Database) -> None:
    project = database.project()
    trap_by_ranges(database, "trap", project)
    database.rows("create table trap_2 (span span)", url=project.url)
    eventually(lambda: trapped(database), "a worker in the trap")
    assert database.rows("select zmesh.end_slow_workers('0 s')", url=database.listener_url)
    eventually(lambda: not trapped(database), "the end of the worker")
    off = ["autovacuum_enabled=off"]
    assert reloptions(database) == {"trap": off, "trap_2": off}


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("on_request", [False, True])
def test_a_worker_that_summarizes_by_a_projects_code_is_ended_and_comes_no_more(
    database: Database, on_request: bool
) -> None:
    project = database.project()
    trap_by_summaries(database, "trap", project, on_request=on_request)
    [worker] = eventually(lambda: summarizing(database), "a worker in the trap")
    assert ("BRIN summarize" in worker["query"]) is on_request
    end = "select zmesh.end_slow_workers(%s)"

    assert database.rows(end, "1 hour", url=database.listener_url) == []
    [said, *_] = eventually(lambda: database.rows(f"{end} as said", "0 s", url=database.listener_url), "an end")

    assert project.role in said["said"]
    pids = "select 1 from pg_stat_activity where pid = %s and wait_event = 'PgSleep'"
    eventually(lambda: not database.rows(pids, worker["pid"]), "the end of the worker")
    off = {"autovacuum_enabled=off", "vacuum_index_cleanup=off"}
    assert off <= set(reloptions(database)["trap"] or [])
    [index] = database.rows("select reloptions from pg_class where relname = 'trap_slow_idx'")
    assert index["reloptions"] == ["pages_per_range=1"]


@pytest.mark.usefixtures("eager")
def test_a_worker_that_a_projects_table_slows_down_is_ended_when_workers_are_scarce(database: Database) -> None:
    project = database.project()
    slow_down(database, "trap", project)
    database.rows(f"create table trap_2 (id integer) with ({SLEEPY})", url=project.url)
    eventually(lambda: vacuumed(database), "a worker that is slowed down")
    end = "select zmesh.end_slow_workers('0 s')"
    assert database.rows(end, url=database.listener_url) == []
    neglect(database)
    eventually(lambda: database.rows("select * from zmesh.tables_behind_on_vacuum()"), "the statistics")
    eventually(lambda: database.rows(end, url=database.listener_url), "the end of the worker")
    assert reloptions(database) == {"trap": ["fillfactor=10"], "trap_2": None}


@pytest.mark.parametrize(
    ("options", "slows"),
    [
        ("autovacuum_vacuum_cost_limit = 199", True),
        ("autovacuum_vacuum_cost_delay = 2.5", True),
        ("toast.autovacuum_vacuum_cost_delay = 100", True),
        ("autovacuum_vacuum_cost_limit = 10000, autovacuum_vacuum_cost_delay = 0", False),
        ("fillfactor = 10", False),
    ],
)
def test_a_table_slows_vacuum_by_these_options(database: Database, options: str, slows: bool) -> None:
    project = database.project()
    database.rows(f"create table slow (id text) with ({options})", url=project.url)
    schema = f"{project.schema}.slow"
    assert database.value("select zmesh_roles.slows_vacuum(%s::regclass)", schema) is slows
    assert database.value("select zmesh_roles.hurry_vacuum(%s, %s::regclass)", project.role, schema) == slows
    assert database.value("select zmesh_roles.slows_vacuum(%s::regclass)", schema) is False


@pytest.mark.usefixtures("eager")
def test_without_the_right_to_end_a_worker_it_is_cancelled(database: Database, server: str) -> None:
    project = database.project()
    trap(database, "trap", project)
    eventually(lambda: trapped(database), "a worker in the trap")
    with psycopg.connect(server, autocommit=True) as administrator:
        modern = administrator.info.server_version >= 180000
        if modern:
            administrator.execute("revoke pg_signal_autovacuum_worker from zmesh_owner")
        else:
            database.rows("drop function zmesh_roles.end_autovacuum_worker(integer)")
        try:
            database.rows("select zmesh.end_slow_workers('0 s')", url=database.listener_url)
        finally:
            if modern:
                administrator.execute("grant pg_signal_autovacuum_worker to zmesh_owner")
    eventually(lambda: not trapped(database), "the end of the worker")
    assert reloptions(database) == {"trap": ["autovacuum_enabled=off"]}


def test_only_the_platform_ends_workers(database: Database) -> None:
    project = database.project()
    for call in ("end_slow_workers('0 s')", "end_worker(1)", "end_vacuum_blockers()", "end_readers('{zmesh.logs}')"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            database.rows(f"select zmesh.{call}", url=project.url)
    if database.value("select current_setting('server_version_num')::integer") < 180000:
        query = "select zmesh_roles.end_autovacuum_worker(pg_backend_pid())"
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            database.rows(query, url=project.url)
        assert database.value(query) is False, "it ends workers and nothing else"


def test_tables_of_the_platform_that_autovacuum_neglects_are_named(database: Database) -> None:
    assert database.rows("select * from zmesh.tables_behind_on_vacuum()", url=database.listener_url) == []
    neglect(database)
    named = eventually(lambda: database.rows("select * from zmesh.tables_behind_on_vacuum()"), "the statistics")
    assert [row["table_name"] for row in named] == ["api_key_functions"]
    assert named[0]["dead_rows"] == 110_000


CURSOR = """
declare held cursor for select run_at from zmesh.invocations where status = 'queued' and due and not waited
 order by waited, project_id, lane, priority desc, run_at
"""


@contextmanager
def vacuuming(database: Database) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=database.rows, args=("vacuum (index_cleanup on) zmesh.queue",))
    thread.start()
    yield thread
    thread.join(60)


def test_a_project_whose_cursor_keeps_vacuum_waiting_is_ended(database: Database) -> None:
    project = database.project()
    database.function(project)
    database.enqueue(project, count=2000)
    database.rows("vacuum analyze zmesh.queue")
    database.rows("delete from zmesh.queue where id in (select id from zmesh.queue limit 1000)")
    waits = "select 1 from pg_stat_activity where wait_event = 'BufferPin' and datname = current_database()"
    with database.connect(project.url) as session:
        for setting in ("enable_seqscan", "enable_bitmapscan", "enable_sort"):
            session.execute(f"set {setting} = off")
        session.execute("begin")
        session.execute(CURSOR)
        session.execute("fetch 3 from held")
        with vacuuming(database) as thread:
            eventually(lambda: database.rows(waits), "VACUUM to wait for the page")
            ended = eventually(
                lambda: database.rows("select zmesh.end_vacuum_blockers()", url=database.listener_url), "an end"
            )
        assert not thread.is_alive()
        assert len(ended) == 1
        with pytest.raises(psycopg.OperationalError):
            session.execute("select 1")
