"""Garbage collection in a process with an event loop: a full one halts all threads, longer with more live objects."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections.abc import Iterator

FEW_TASKS = 200
CHECK_SECONDS = 30.0
LONGEST_SECONDS = 300.0  # between full collections
NEVER = 1_000_000_000


@contextlib.contextmanager
def deferred_full_collections() -> Iterator[None]:
    """Full collections run while there are few tasks, not when Python would run them: a burst of 3,000 requests caused
    seven, of up to 180 ms each. Young objects are collected as usual; those that exist at the start are left alone."""
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*thresholds[:2], NEVER)
    collecting = asyncio.create_task(_collect())
    try:
        yield
    finally:
        collecting.cancel()
        gc.set_threshold(*thresholds)
        gc.unfreeze()


async def _collect() -> None:
    collected_at = time.monotonic()
    while True:
        await asyncio.sleep(CHECK_SECONDS)
        is_overdue = time.monotonic() - collected_at > LONGEST_SECONDS
        if is_overdue or len(asyncio.all_tasks()) < FEW_TASKS:
            gc.collect()
            collected_at = time.monotonic()
