"""What a PostgreSQL round trip costs with no work in it: INSERT + NOTIFY, a listener wakes, claims with SKIP LOCKED,
finishes with UPDATE + NOTIFY, and the inserter wakes. No platform can be faster on the same server."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

from psycopg import AsyncConnection

_TABLE = "create table if not exists bench_floor (id bigserial primary key, payload jsonb, done boolean default false)"
_CLAIM = """
with job as (select id from bench_floor where not done order by id limit 1 for update skip locked)
update bench_floor set done = true from job where bench_floor.id = job.id returning bench_floor.id
"""


class Floor:
    """The loop of one inserter and one listener over a project's own database."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url

    async def __aenter__(self) -> Floor:
        self._inserter, self._listener = [await AsyncConnection.connect(self._url, autocommit=True) for _ in range(2)]
        await self._inserter.execute(_TABLE)
        await self._listener.execute("listen bench_job")
        await self._inserter.execute("listen bench_done")
        self._task = asyncio.create_task(self._serve())
        return self

    async def __aexit__(self, *error: object) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        await self._inserter.execute("drop table bench_floor")
        await self._inserter.close()
        await self._listener.close()

    async def _serve(self) -> None:
        while True:
            async for _ in self._listener.notifies(stop_after=1):
                pass
            async with self._listener.transaction():
                await self._listener.execute(_CLAIM)
                await self._listener.execute("notify bench_done")

    async def round_trip(self) -> float:
        """Seconds of one round trip."""
        started = time.perf_counter()
        async with self._inserter.transaction():
            await self._inserter.execute("insert into bench_floor (payload) values ('{}')")
            await self._inserter.execute("notify bench_job")
        async for _ in self._inserter.notifies(stop_after=1):
            pass
        return time.perf_counter() - started
