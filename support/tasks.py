"""Tasks: ends those that talk to the database, and lets others have their turns in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any, TypeVar

AGAIN_SECONDS = 1
Item = TypeVar("Item")


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel until all have ended: psycopg waits with wait_for, which may swallow a cancellation on Python 3.11."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=AGAIN_SECONDS)


async def in_turns(items: Iterable[Item], each: int) -> AsyncIterator[Item]:
    """The items, a few in each turn of the event loop: what one of them wakes has run before the next turn's items."""
    for count, item in enumerate(items):
        if count and count % each == 0:
            await asyncio.sleep(0)
        yield item
