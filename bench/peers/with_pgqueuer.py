"""PgQueuer, measured by bench.queue_side_by_side: python with_pgqueuer.py URL JOBS SAMPLES BATCH_SIZE."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from collections.abc import Callable

import asyncpg
from pgqueuer import PgQueuer, Queries
from pgqueuer.db import AsyncpgPoolDriver

CHUNK = 1000
WARM_UP = 20


async def main(url: str, jobs: int, samples: int, batch_size: int) -> None:
    async with asyncpg.create_pool(url, min_size=2) as pool:
        queries = Queries(AsyncpgPoolDriver(pool))
        await queries.install()
        started = time.perf_counter()
        for _ in range(jobs // CHUNK):
            await queries.enqueue(["noop"] * CHUNK, [b'{"n": 1}'] * CHUNK, [0] * CHUNK)
        enqueue = jobs / (time.perf_counter() - started)
        print(
            json.dumps(
                {
                    "enqueue": enqueue,
                    "drain": await drain(pool, jobs, batch_size),
                    "latencies": await latencies(pool, queries, samples, batch_size),
                }
            )
        )


def worker(pool: asyncpg.Pool, on_start: Callable[[], None]) -> PgQueuer:
    queue = PgQueuer(AsyncpgPoolDriver(pool))

    @queue.entrypoint("noop")
    async def noop(job: object) -> None:
        on_start()

    return queue


async def drain(pool: asyncpg.Pool, jobs: int, batch_size: int) -> float:
    seen: list[float] = []
    ran = asyncio.Event()

    def on_start() -> None:
        seen.append(time.perf_counter())
        if len(seen) == jobs:
            ran.set()

    queue = worker(pool, on_start)
    work = asyncio.create_task(queue.run(batch_size=batch_size))
    await ran.wait()
    while await pool.fetchval("select exists (select from pgqueuer)"):
        pass
    rate = jobs / (time.perf_counter() - seen[0])
    queue.shutdown.set()
    await work
    return rate


async def latencies(pool: asyncpg.Pool, queries: Queries, samples: int, batch_size: int) -> list[float]:
    begun: asyncio.Queue[float] = asyncio.Queue()
    queue = worker(pool, lambda: begun.put_nowait(time.perf_counter()))
    work = asyncio.create_task(queue.run(batch_size=batch_size))
    seen = []
    for _ in range(WARM_UP + samples):
        started = time.perf_counter()
        await queries.enqueue("noop", b'{"n": 1}')
        seen.append((await begun.get() - started) * 1000)
        await asyncio.sleep(0.01)
    queue.shutdown.set()
    await work
    return seen[WARM_UP:]


if __name__ == "__main__":
    logging.disable()
    asyncio.run(main(sys.argv[1], *(int(number) for number in sys.argv[2:])))
