"""What the console asks, over 10,000 functions and 10 million invocations: how long it takes, how many rows it reads.

python -m bench.console [--scale 0.1]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics as mean
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
from psycopg import AsyncConnection
from rich.console import Console
from rich.table import Table

from bench.queue_flat import HISTORY, HISTORY_CHUNK
from bench.queue_server import new_database, server
from sql import history, live, statistics
from sql.history import LAST_ID, Filter
from sql.statistics import FunctionsWanted, Range
from tests.databases import Database, TestProject

FUNCTIONS, INVOCATIONS, RUNNING, QUEUED = 10_000, 10_000_000, 1000, 20_000
ROUNDS = 5
DAY, MONTH = timedelta(days=1), timedelta(days=30)
FILL = {
    "functions": """
        insert into zmesh.functions (project_id, name, language, code)
        select %(project)s, 'function ' || n, 'python', repeat('x', 1000) from generate_series(1, %(functions)s) n""",
    # As often as 10 million invocations in 30 days end: 231 a minute.
    "minutes": """
        insert into zmesh.statistics_by_minute (project_id, function_id, starts_at, version, success, error,
                                                duration_ms)
        select %(project)s, f.id, date_trunc('minute', now()) - n * interval '1 minute', 1, 1,
               (random() < 0.02)::integer, array_fill(1, array[20])
          from zmesh.functions f, generate_series(0, 1499) n where random() < 0.023""",
    "hours": """
        insert into zmesh.statistics_by_hour (project_id, function_id, starts_at, version, success, error, duration_ms)
        select %(project)s, f.id, date_trunc('hour', now()) - n * interval '1 hour', 1, 1, (random() < 0.02)::integer,
               array_fill(1, array[20])
          from zmesh.functions f, generate_series(0, 743) n where random() < 0.75""",
    "project": """
        insert into zmesh.statistics_by_hour (project_id, function_id, starts_at, version, success, duration_ms)
        select %(project)s, %(project)s, date_trunc('hour', now()) - n * interval '1 hour', 0, 13900,
               array_fill(700, array[20])
          from generate_series(0, 743) n""",
    "errors": """
        insert into zmesh.errors_by_hour (project_id, function_id, fingerprint, last_invocation_id, starts_at, first_at,
                                          last_at, version, calls, type, message)
        select %(project)s, f.id, md5(f.id::text || k)::uuid, gen_random_uuid(), h.at, h.at, h.at, 1, 1, 'Error',
               'no ' || k
          from zmesh.functions f, generate_series(1, 3) k, generate_series(0, 743, 24) n,
               lateral (select date_trunc('hour', now()) - n * interval '1 hour' as at) h""",
    "running": """
        insert into zmesh.queue (id, project_id, function_id, lane, created_at, run_at, started_at, version,
                                 max_attempts, attempt, due, status, function, listener_id)
        select zmesh.new_id(), %(project)s, f.id, 0, now(), now(), now(), 1, 1, 1, true, 'running', f.slug, %(listener)s
          from (select * from zmesh.functions limit 1000) f, generate_series(1, ceil(%(running)s / 1000.0)::integer)
         limit %(running)s""",
    "queued": """
        insert into zmesh.queue (id, project_id, function_id, lane, created_at, run_at, max_attempts, due, function)
        select zmesh.new_id(), %(project)s, f.id, zmesh.lane(f.id, null), now(), now(), 3, true, f.slug
          from (select * from zmesh.functions limit 200) f, generate_series(1, ceil(%(queued)s / 200.0)::integer)""",
    "failures": """
        update zmesh.history set status = 'error', error = '{"type": "Error", "message": "no 1"}'
         where get_byte(uuid_send(id), 15) < 5""",
}
# Rows that the present transaction has read: of tables without an index, and of indexes.
READ = """
    select c.relname, sum(pg_stat_get_xact_tuples_returned(c.oid))::bigint as read
      from pg_class c where c.relnamespace = 'zmesh'::regnamespace and c.relkind = %s
     group by 1 having sum(pg_stat_get_xact_tuples_returned(c.oid)) > 0 order by 2 desc"""

Query = Callable[[AsyncConnection], Awaitable[Any]]


@dataclass(frozen=True)
class Filled:
    """A database of some size, and what to ask about."""

    database: Database
    project: TestProject
    function_id: UUID
    invocation_id: UUID


def fill(database: Database, scale: float, say: Callable[[str], None] = lambda text: None) -> Filled:
    """Make it so large, in parts of the full size."""
    project = database.project()
    listener = database.listener(1000, "1 day")
    sizes = {"functions": FUNCTIONS, "running": RUNNING, "queued": QUEUED}
    values = {"project": project.id, "listener": listener}
    values |= {name: max(1, round(size * scale)) for name, size in sizes.items()}
    with psycopg.connect(database.admin_url, autocommit=True) as connection:
        connection.execute("select zmesh.make_periods()")
        for name, query in FILL.items():
            if name == "failures":
                _fill_history(connection, round(INVOCATIONS * scale), say)
            say(name)
            connection.execute(query.encode(), values)
        connection.execute("vacuum analyze")
        found = connection.execute(
            "select function_id, id from zmesh.history where status = 'error' limit 1"
        ).fetchone()
    assert found is not None
    return Filled(database, project, *found)


def _fill_history(connection: psycopg.Connection[Any], rows: int, say: Callable[[str], None]) -> None:
    for first in range(1, rows + 1, HISTORY_CHUNK):
        say(f"history from {first:,}")
        connection.execute(HISTORY.encode(), (first, min(rows, first + HISTORY_CHUNK - 1)))


def queries(filled: Filled) -> dict[str, Query]:
    """What pages of the console read."""
    now = datetime.now(UTC)
    project, function = filled.project.id, filled.function_id
    hour = Range(now - timedelta(hours=1), now, 60, hourly=False)
    day = Range(now - DAY, now, 900, hourly=False)
    month = Range(now - MONTH, now, 86400, hourly=True)

    def listed(sort: str, show: str = "all", search: str | None = None) -> Query:
        wanted = FunctionsWanted(project, search, show, sort)
        return lambda c: statistics.list_functions(c, wanted, None, 51)

    def found(**conditions: Any) -> Query:
        return lambda c: history.list_invocations(c, Filter(project, **conditions), LAST_ID, 51)

    async def last_hour(connection: AsyncConnection) -> None:
        functions = await statistics.list_functions(connection, FunctionsWanted(project, None, "all", "name"), None, 51)
        ids = [one.id for one in functions]
        await statistics.last_hour(connection, ids)
        await statistics.last_hour_durations(connection, ids)
        await statistics.callers(connection, ids, 10)

    kind = UUID(filled.database.value("select zmesh.error_fingerprint('Error', 'no 1')::text"))
    return {
        "functions by name": listed("name"),
        "functions by calls": listed("calls"),
        "functions by errors": listed("errors"),
        "functions by deployment": listed("deployed"),
        "functions that fail": listed("name", show="failing"),
        "functions by a word": listed("name", search="n 99"),
        "functions with their hour": last_hour,
        "function, an hour": lambda c: statistics.histograms(c, function, hour),
        "function, a day": lambda c: statistics.histograms(c, function, day),
        "function, a month": lambda c: statistics.histograms(c, function, month),
        "function, calls of a month": lambda c: statistics.counts(c, function, month),
        "project, a month": lambda c: statistics.histograms(c, project, month),
        "kinds of errors": lambda c: statistics.error_kinds(c, function, now - MONTH, 50),
        "invocations": found(),
        "invocations that failed": found(statuses=["error"]),
        "invocations that timed out": found(statuses=["timeout"]),
        "invocations that were cancelled": found(statuses=["cancelled"]),
        "invocations of a function": found(function_id=function),
        "failed ones of a function": found(function_id=function, statuses=["error"]),
        "failed ones of a kind": found(fingerprint=kind),
        "one invocation": lambda c: history.find_invocation(c, project, filled.invocation_id),
        "its log": lambda c: history.last_lines(c, [filled.invocation_id], 1000),
        "queue by function": lambda c: live.queue_by_function(c, project, 200),
        "running": lambda c: live.running(c, project, 500),
        "listeners": live.listeners,
        "limits": lambda c: live.limits(c, project),
        "load": lambda c: live.load(c, project),
        "changes": lambda c: live.changes(c, [project], 3, 500),
        "fresh log lines": lambda c: live.fresh_lines(c, [project], 3, 500),
        "changed functions": lambda c: live.function_changes(c, [project], 3, 500),
    }


async def rows_read(connection: AsyncConnection, query: Query, kind: str) -> dict[str, int]:
    """Rows that a query reads: of tables ("r") by scans without an index, or of indexes ("i"), by their names."""
    async with connection.transaction():
        before = dict(await (await connection.execute(READ, (kind,))).fetchall())
        await query(connection)
        after = dict(await (await connection.execute(READ, (kind,))).fetchall())
    return {name: count - before.get(name, 0) for name, count in after.items() if count > before.get(name, 0)}


async def measure(filled: Filled) -> Table:
    """Times and rows of every query."""
    table = Table("query", "ms", "rows by index", "rows without an index")
    async with await AsyncConnection.connect(filled.database.api_url, autocommit=True) as connection:
        for name, query in queries(filled).items():
            times = []
            for _ in range(ROUNDS):
                started = time.perf_counter()
                await query(connection)
                times.append((time.perf_counter() - started) * 1000)
            scanned = await rows_read(connection, query, "r")
            by_index = sum((await rows_read(connection, query, "i")).values())
            without = ", ".join(f"{table} {count:,}" for table, count in scanned.items() if count > 100)
            table.add_row(name, f"{mean.median(times):.1f}", f"{by_index:,}", without)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0, help="part of the full size; 1.0")
    scale = parser.parse_args().scale
    console = Console()
    with server() as url:
        database = new_database(url)
        filled = fill(database, scale, console.print)
        console.print(asyncio.run(measure(filled)))


if __name__ == "__main__":
    main()
