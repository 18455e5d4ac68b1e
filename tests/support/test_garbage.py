"""Full garbage collections wait until there are few tasks."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from support import garbage
from support.garbage import deferred_full_collections


@contextmanager
def collections(generation: int = 2) -> Iterator[list[int]]:
    """A number for each that has begun; those of a younger generation are not full."""
    begun: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        if phase == "start" and info["generation"] == generation:
            begun.append(len(begun))

    gc.callbacks.append(note)
    try:
        yield begun
    finally:
        gc.callbacks.remove(note)


async def one_of(begun: list[int]) -> None:
    async with asyncio.timeout(20):
        while not begun:
            await asyncio.sleep(0.01)


async def test_objects_of_a_burst_cause_no_full_collection() -> None:
    with deferred_full_collections(), collections() as begun:
        assert len([[n] for n in range(300_000)]) == 300_000
        assert begun == []
    with collections() as begun:
        assert len([[n] for n in range(300_000)]) == 300_000
        assert begun != [], "as Python does without it"


async def test_cycles_that_outlive_young_collections_are_collected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "CHECK_SECONDS", 0.01)
    with deferred_full_collections(), collections() as begun:
        await one_of(begun)


async def test_many_tasks_defer_a_full_collection_only_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(garbage, "CHECK_SECONDS", 0.01)
    tasks = [asyncio.create_task(asyncio.sleep(60)) for _ in range(garbage.FEW_TASKS)]
    with deferred_full_collections(), collections() as begun:
        await asyncio.sleep(0.1)
        assert begun == []
        monkeypatch.setattr(garbage, "LONGEST_SECONDS", 0.0)
        await one_of(begun)
    for task in tasks:
        task.cancel()


async def test_many_objects_defer_a_full_collection_only_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """9,000 idle connections made each of them take a quarter of a second, and there was one every 30 seconds."""
    monkeypatch.setattr(garbage, "CHECK_SECONDS", 0.01)
    with deferred_full_collections(), collections() as begun:
        await one_of(begun)
        many = [[n] for n in range(garbage.FEW_BLOCKS)]
        await asyncio.sleep(0.02)
        begun.clear()
        await asyncio.sleep(0.1)
        assert begun == []
        monkeypatch.setattr(garbage, "LONGEST_SECONDS", 0.0)
        await one_of(begun)
    assert len(many) == garbage.FEW_BLOCKS


async def test_young_objects_are_collected_even_while_as_many_are_freed_as_made() -> None:
    """Python begins a collection only once there are more than before: then it went through all that were new since,
    which held the event loop for 100 ms."""
    with deferred_full_collections(), collections(generation=1) as begun:
        await one_of(begun)
