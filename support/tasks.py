"""Ending tasks that talk to the database."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

AGAIN_SECONDS = 1


async def end(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel until all have ended: psycopg waits with wait_for, which may swallow a cancellation on Python 3.11."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=AGAIN_SECONDS)
