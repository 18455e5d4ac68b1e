"""Tasks end when told to, even if a library swallows the first cancellation."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from support.tasks import end


def test_a_task_that_swallows_a_cancellation_ends_all_the_same() -> None:
    async def stubborn(times: int) -> None:
        for _ in range(times):
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(3600)
        await asyncio.sleep(3600)

    async def main() -> None:
        tasks = [asyncio.create_task(stubborn(times)) for times in (0, 1, 2)]
        await asyncio.sleep(0)
        await end(tasks)
        assert all(task.cancelled() for task in tasks)

    asyncio.run(main())


def test_no_tasks_end_at_once() -> None:
    asyncio.run(end([]))
