"""Our queue as the peers' are measured: a run is a no-op in the listener's process, the rest is as in production.

python -m bench.queue_zmesh SERVER JOBS SAMPLES SLOTS
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from psycopg import AsyncConnection

from bench.queue_server import new_database
from listener.main import connection_pool
from listener.service import Listener
from listener.settings import Settings
from sandbox import RunOutcome, RunRequest
from sandbox.host.streams import Sink
from tests.databases import Database, TestProject

CHUNK = 1000
WARM_UP = 20
INSERT = "insert into zmesh.invocations (function, payload) select 'greet', %s from generate_series(1, %s)"


class NoSandbox:
    """Every run succeeds, at once or after some time."""

    def __init__(self, on_start: Callable[[], None], run_ms: int) -> None:
        self._on_start = on_start
        self._run_ms = run_ms

    async def run(self, request: RunRequest, cancel: asyncio.Event, sink: Sink) -> RunOutcome:
        self._on_start()
        if self._run_ms:
            await asyncio.sleep(self._run_ms / 1000)
        return RunOutcome("success", request.payload_json, None, None, [], 1, 1, 1)


def prepare(database: Database, slots: int) -> TestProject:
    """A project that may run as much as the listener."""
    project = database.project()
    database.function(project)
    database.rows("update zmesh.settings set max_running = %s", slots)
    database.rows("update zmesh.projects set max_running = %s", slots)
    return project


@asynccontextmanager
async def listener(
    database: Database, slots: int, on_start: Callable[[], None], run_ms: int = 0
) -> AsyncIterator[None]:
    """A listener that works until the block ends."""
    settings = Settings(database_url=database.listener_url, secret_key=database.secret_key, slots=slots)
    stop = asyncio.Event()
    async with connection_pool(database.listener_url) as pool:
        sandbox: Any = NoSandbox(on_start, run_ms)
        work = asyncio.create_task(Listener(settings, sandbox, pool).run(stop))
        try:
            yield
        finally:
            stop.set()
            await work


async def enqueue(project: TestProject, jobs: int) -> float:
    """Jobs per second, as a user of SQL inserts many."""
    async with await AsyncConnection.connect(project.url, autocommit=True) as connection:
        started = time.perf_counter()
        for _ in range(jobs // CHUNK):
            await connection.execute(INSERT, ('{"n": 1}', CHUNK))
        return jobs / (time.perf_counter() - started)


async def drain(database: Database, jobs: int, slots: int) -> float:
    """Jobs per second, from the first start until every end is written."""
    seen: list[float] = []
    ran = asyncio.Event()

    def on_start() -> None:
        seen.append(time.perf_counter())
        if len(seen) == jobs:
            ran.set()

    async with listener(database, slots, on_start), await AsyncConnection.connect(database.admin_url) as connection:
        await ran.wait()
        left = True
        while left:
            cursor = await connection.execute("select exists (select from zmesh.queue)")
            [(left,)] = await cursor.fetchall()
        return jobs / (time.perf_counter() - seen[0])


async def latencies(database: Database, project: TestProject, samples: int, slots: int) -> list[float]:
    """Milliseconds from each insert, one at a time, to its start."""
    begun: asyncio.Queue[float] = asyncio.Queue()
    seen = []
    async with (
        listener(database, slots, lambda: begun.put_nowait(time.perf_counter())),
        await AsyncConnection.connect(project.url, autocommit=True) as connection,
    ):
        for _ in range(WARM_UP + samples):
            started = time.perf_counter()
            await connection.execute(INSERT, ('{"n": 1}', 1))
            seen.append((await begun.get() - started) * 1000)
            await asyncio.sleep(0.01)
    return seen[WARM_UP:]


async def main(server: str, jobs: int, samples: int, slots: int) -> None:
    database = new_database(server)
    project = prepare(database, slots)
    figures = {
        "enqueue": await enqueue(project, jobs),
        "drain": await drain(database, jobs, slots),
        "latencies": await latencies(database, project, samples, slots),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    logging.disable()
    asyncio.run(main(sys.argv[1], *(int(number) for number in sys.argv[2:])))
