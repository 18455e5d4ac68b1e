"""Natural batching: alone when nothing is under way, together otherwise."""

from __future__ import annotations

import asyncio

import pytest

from api.batching import MOST_BYTES, Batcher


class Flushes:
    """Doubles numbers, one round trip at a time, each of which a test lets through."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.started = asyncio.Event()
        self.go = asyncio.Semaphore(0)

    async def __call__(self, batch: list[int]) -> list[int | BaseException]:
        self.batches.append(batch)
        self.started.set()
        await self.go.acquire()
        if 0 in batch:
            raise ConnectionError("gone")
        return [ValueError("odd one") if n == 13 else 2 * n for n in batch]


async def test_items_that_arrive_during_a_round_trip_go_together_in_the_next() -> None:
    flushes = Flushes()
    batcher: Batcher[int, int] = Batcher(flushes, largest=3)
    first = asyncio.create_task(batcher.ask(1))
    await flushes.started.wait()
    later = [asyncio.create_task(batcher.ask(n)) for n in range(2, 7)]
    await asyncio.sleep(0)
    for _ in range(3):
        flushes.go.release()
    assert await asyncio.gather(first, *later) == [2, 4, 6, 8, 10, 12]
    assert flushes.batches == [[1], [2, 3, 4], [5, 6]]


async def test_a_large_item_goes_alone() -> None:
    flushes = Flushes()
    sizes = {1: 1, 2: MOST_BYTES + 1, 3: 1, 4: 1, 5: MOST_BYTES}
    batcher = Batcher(flushes, size_of=sizes.__getitem__)
    asking = [asyncio.create_task(batcher.ask(n)) for n in sizes]
    for _ in range(4):
        flushes.go.release()
    assert await asyncio.gather(*asking) == [2, 4, 6, 8, 10]
    assert flushes.batches == [[1], [2], [3, 4], [5]]


async def test_one_items_failure_is_its_own() -> None:
    flushes = Flushes()
    batcher: Batcher[int, int] = Batcher(flushes)
    flushes.go.release()
    answers = await asyncio.gather(*(batcher.ask(n) for n in (1, 13, 2)), return_exceptions=True)
    assert (answers[0], answers[2]) == (2, 4)
    assert isinstance(answers[1], ValueError)


async def test_a_failed_round_trip_fails_its_callers_and_the_next_one_works() -> None:
    flushes = Flushes()
    batcher: Batcher[int, int] = Batcher(flushes)
    flushes.go.release()
    with pytest.raises(ConnectionError):
        await batcher.ask(0)
    flushes.go.release()
    assert await batcher.ask(4) == 8


async def test_a_caller_who_goes_away_takes_nobody_along() -> None:
    flushes = Flushes()
    batcher: Batcher[int, int] = Batcher(flushes)
    callers = [asyncio.create_task(batcher.ask(n)) for n in (1, 2)]
    await flushes.started.wait()
    callers[0].cancel()
    flushes.go.release()
    assert await callers[1] == 4
