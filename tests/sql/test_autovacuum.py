"""Workers of autovacuum, and what keeps them from the platform's tables."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from tests.databases import Database, Row, TestProject
from tests.platform import eventually

# Sleeps in a worker only: its lock_timeout is 0, whatever the sessions of this project set.
SLOW = """
create function slow(integer) returns integer language plpgsql immutable as $$ begin
  if current_setting('lock_timeout') = '0' then perform pg_sleep(600); end if;
  return $1;
end $$
"""


@pytest.fixture
def eager_autovacuum(server: str) -> Iterator[None]:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("alter system set autovacuum_naptime = '1s'")
        connection.execute("select pg_reload_conf()")
        yield
        connection.execute("alter system reset autovacuum_naptime")
        connection.execute("select pg_reload_conf()")


def trap(database: Database, table: str, project: TestProject) -> None:
    """A table whose ANALYZE does not end."""
    with database.connect(project.url) as session:
        session.execute("set lock_timeout = '1min'")
        session.execute(f"create table {table} (id integer)")
        session.execute(f"create index on {table} (slow(id))")
        session.execute(f"insert into {table} select generate_series(1, 500)")


def trapped(database: Database) -> list[Row]:
    """Workers that are in the owner's code."""
    return database.rows(
        "select a.pid from pg_stat_progress_analyze a join pg_stat_activity s using (pid)"
        " where s.wait_event = 'PgSleep' and a.datname = current_database()"
    )


def options(database: Database) -> dict[str, list[str] | None]:
    rows = database.rows("select relname, reloptions from pg_class where relname like 'trap%%' and relkind = 'r'")
    return {row["relname"]: row["reloptions"] for row in rows}


@pytest.mark.usefixtures("eager_autovacuum")
def test_a_worker_that_a_projects_index_expression_keeps_is_ended(database: Database) -> None:
    project = database.project()
    database.rows(SLOW, url=project.url)
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
    assert options(database) == {"trap": off, "trap_2": off, "trap_without": None}


@pytest.mark.usefixtures("eager_autovacuum")
def test_without_the_right_to_end_a_worker_it_is_cancelled(database: Database, server: str) -> None:
    project = database.project()
    database.rows(SLOW, url=project.url)
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
    assert options(database) == {"trap": ["autovacuum_enabled=off"]}


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
    assert database.rows("select * from zmesh.neglected_tables()", url=database.listener_url) == []
    database.rows("alter table zmesh.api_key_functions disable trigger all")
    database.rows("alter table zmesh.api_key_functions set (autovacuum_enabled = off)")
    database.rows(
        "insert into zmesh.api_key_functions"
        " select gen_random_uuid(), gen_random_uuid() from generate_series(1, 110000)"
    )
    database.rows("delete from zmesh.api_key_functions")
    named = eventually(lambda: database.rows("select * from zmesh.neglected_tables()"), "the statistics")
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
