"""Garbage collection in a process with an event loop: a full one halts all threads, longer with more live objects."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
import time
from collections.abc import Iterator

FEW_TASKS = 200
FEW_BLOCKS = 100_000  # of memory, more than at the start: those of 500 connections, which take 15 ms even if idle
YOUNG_SECONDS = 0.05
CHECK_SECONDS = 30.0
LONGEST_SECONDS = 300.0  # between full collections
NEVER = 1_000_000_000


@contextlib.contextmanager
def deferred_full_collections() -> Iterator[None]:
    """Full collections run while there are few tasks and connections, not when Python would run them: a burst of 3,000
    requests caused seven, of up to 180 ms each. What exists at the start is left alone."""
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*thresholds[:2], NEVER)
    collecting = [asyncio.create_task(_collect()), asyncio.create_task(_collect_young())]
    try:
        yield
    finally:
        for task in collecting:
            task.cancel()
        gc.set_threshold(*thresholds)
        gc.unfreeze()


async def _collect_young() -> None:
    """Python counts how many more objects are made than freed. In a steady flow of thousands of requests, as many are
    freed as made: when it collects at last, all are new. With 150,000, that took 100 ms."""
    while True:
        await asyncio.sleep(YOUNG_SECONDS)
        gc.collect(1)


async def _collect() -> None:
    collected_at = time.monotonic()
    at_start = sys.getallocatedblocks()  # takes a tenth of a millisecond; counting objects takes up to 50
    while True:
        await asyncio.sleep(CHECK_SECONDS)
        is_overdue = time.monotonic() - collected_at > LONGEST_SECONDS
        few_tasks = len(asyncio.all_tasks()) < FEW_TASKS
        if is_overdue or (few_tasks and sys.getallocatedblocks() - at_start < FEW_BLOCKS):
            gc.collect()
            collected_at = time.monotonic()
