"""procrastinate, measured by bench.queue_side_by_side: python with_procrastinate.py URL JOBS SAMPLES CONCURRENCY."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from collections.abc import Callable

import procrastinate

CHUNK = 1000
WARM_UP = 20
on_start: Callable[[], None]


async def main(url: str, jobs: int, samples: int, concurrency: int) -> None:
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=url))

    @app.task(name="noop")
    async def noop(n: int) -> None:
        on_start()

    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        started = time.perf_counter()
        for _ in range(jobs // CHUNK):
            await noop.batch_defer_async(*({"n": n} for n in range(CHUNK)))
        enqueue = jobs / (time.perf_counter() - started)
        print(
            json.dumps(
                {
                    "enqueue": enqueue,
                    "drain": await drain(app, jobs, concurrency),
                    "latencies": await latencies(app, noop, samples, concurrency),
                }
            )
        )


async def drain(app: procrastinate.App, jobs: int, concurrency: int) -> float:
    global on_start
    seen: list[float] = []
    on_start = lambda: seen.append(time.perf_counter())  # noqa: E731
    await app.run_worker_async(concurrency=concurrency, wait=False, install_signal_handlers=False)
    return jobs / (time.perf_counter() - seen[0])


async def latencies(
    app: procrastinate.App, noop: procrastinate.tasks.Task, samples: int, concurrency: int
) -> list[float]:
    global on_start
    begun: asyncio.Queue[float] = asyncio.Queue()
    on_start = lambda: begun.put_nowait(time.perf_counter())  # noqa: E731
    work = asyncio.create_task(app.run_worker_async(concurrency=concurrency, install_signal_handlers=False))
    seen = []
    for _ in range(WARM_UP + samples):
        started = time.perf_counter()
        await noop.defer_async(n=1)
        seen.append((await begun.get() - started) * 1000)
        await asyncio.sleep(0.01)
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    return seen[WARM_UP:]


if __name__ == "__main__":
    logging.disable()
    asyncio.run(main(sys.argv[1], *(int(number) for number in sys.argv[2:])))
