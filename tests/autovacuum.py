"""An autovacuum that begins at once, tables that keep its workers, and tables that it neglects."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from tests.databases import Database, Row, TestProject

# Sleeps in a worker only: its lock_timeout is 0, whatever the sessions of this project set.
SLOW = """
create or replace function slow(integer) returns integer language plpgsql immutable as $$ begin
  if current_setting('lock_timeout') = '0' then perform pg_sleep(600); end if;
  return $1;
end $$
"""


@contextmanager
def eager_autovacuum(server: str) -> Iterator[None]:
    """The launcher looks every second."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("alter system set autovacuum_naptime = '1s'")
        connection.execute("select pg_reload_conf()")
        try:
            yield
        finally:
            connection.execute("alter system reset autovacuum_naptime")
            connection.execute("select pg_reload_conf()")


def trap(database: Database, table: str, project: TestProject) -> None:
    """A table whose ANALYZE does not end."""
    with database.connect(project.url) as session:
        session.execute("set lock_timeout = '1min'")
        session.execute(SLOW)
        session.execute(f"create table {table} (id integer)")
        session.execute(f"create index on {table} (slow(id))")
        session.execute(f"insert into {table} select generate_series(1, 500)")


def trap_by_ranges(database: Database, table: str, project: TestProject) -> None:
    """A table whose ANALYZE does not end, without any expression: it asks how long ranges are."""
    with database.connect(project.url) as session:
        session.execute(
            "create function far(integer, integer) returns double precision language plpgsql immutable as $$ begin"
            " perform pg_sleep(600); return 1; end $$"
        )
        session.execute("create type span as range (subtype = integer, subtype_diff = far)")
        session.execute(f"create table {table} (span span)")
        session.execute(f"insert into {table} select span(n, n + 1) from generate_series(1, 500) n")


def trap_by_summaries(database: Database, table: str, project: TestProject, *, on_request: bool) -> None:
    """A table whose VACUUM does not end, or whose index asks for summaries that do not; ANALYZE leaves it alone."""
    options = "autovacuum_enabled = off" if on_request else "autovacuum_vacuum_insert_threshold = 1"
    with database.connect(project.url) as session:
        session.execute("set lock_timeout = '1min'")
        session.execute(SLOW)
        never = "autovacuum_analyze_threshold = 2000000000"
        session.execute(f"create table {table} (id integer, text text) with ({options}, {never})")
        requests = f"autosummarize = {on_request}"
        session.execute(f"create index on {table} using brin (slow(id)) with (pages_per_range = 1, {requests})")
        session.execute(f"insert into {table} select n, repeat('x', 200) from generate_series(1, 300) n")


SLEEPY = "autovacuum_vacuum_cost_limit = 1, autovacuum_vacuum_cost_delay = 100"


def slow_down(database: Database, table: str, project: TestProject) -> None:
    """A table whose VACUUM takes a quarter of an hour."""
    with database.connect(project.url) as session:
        session.execute(f"create table {table} (id integer, text text) with (fillfactor = 10, {SLEEPY})")
        session.execute(f"insert into {table} select n, repeat('x', 500) from generate_series(1, 3000) n")
        session.execute(f"delete from {table}")


def vacuumed(database: Database) -> list[Row]:
    """Workers that vacuum a table that slows them."""
    return database.rows(
        "select v.pid from pg_stat_progress_vacuum v join pg_class c on c.oid = v.relid"
        " where c.relname like 'trap%%' and v.datname = current_database()"
    )


def trapped(database: Database) -> list[Row]:
    """Workers that are in the owner's code."""
    return database.rows(
        "select a.pid from pg_stat_progress_analyze a join pg_stat_activity s using (pid)"
        " where s.wait_event = 'PgSleep' and a.datname = current_database()"
    )


def summarizing(database: Database) -> list[Row]:
    """Workers that are in the code of a table's owner, for a BRIN index."""
    return database.rows(
        "select pid, query from pg_stat_activity where wait_event = 'PgSleep' and backend_type = 'autovacuum worker'"
        " and datname = current_database()"
    )


def reloptions(database: Database) -> dict[str, list[str] | None]:
    """Options of the tables that are traps."""
    rows = database.rows("select relname, reloptions from pg_class where relname like 'trap%%' and relkind = 'r'")
    return {row["relname"]: row["reloptions"] for row in rows}


def neglect(database: Database) -> None:
    """Leave 110,000 dead rows in a table of the platform."""
    database.rows("alter table zmesh.api_key_functions disable trigger all")
    database.rows("alter table zmesh.api_key_functions set (autovacuum_enabled = off)")
    database.rows(
        "insert into zmesh.api_key_functions"
        " select gen_random_uuid(), gen_random_uuid() from generate_series(1, 110000)"
    )
    database.rows("delete from zmesh.api_key_functions")
