"""Work that arrives at once is spread over turns of the event loop."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from api.http.turns import Turns
from support.tasks import in_turns


async def counted_by_turn(done: list[int], count: int) -> list[int]:
    """How much had been done in each turn of the loop, until there was so much."""
    counts = [len(done)]
    while counts[-1] < count:
        await asyncio.sleep(0)
        counts.append(len(done))
    return counts


async def test_a_turn_does_so_many_things_in_order() -> None:
    done: list[int] = []
    turns = Turns(2)
    for number in range(5):
        turns.do(partial(done.append, number))
    assert await counted_by_turn(done, 5) == [2, 4, 5]
    assert done == [0, 1, 2, 3, 4]
    turns.do(partial(done.append, 5))
    turns.do(partial(done.append, 6))
    assert await counted_by_turn(done, 7) in ([6, 7], [7])  # the last turn had done one already


async def test_a_client_waits_for_no_more_than_one_thing_of_each_other_client() -> None:
    done: list[tuple[str, int]] = []
    turns = Turns(1)
    for number in range(100):
        turns.do(partial(done.append, ("many", number)), "many")
    assert not turns.do(partial(done.append, ("few", 0)), "few")
    turns.do(partial(done.append, ("few", 1)), "few")
    while len(done) < 102:
        await asyncio.sleep(0)
    assert done[:5] == [("many", 0), ("many", 1), ("few", 0), ("many", 2), ("few", 1)]
    assert done[5:] == [("many", number) for number in range(3, 100)]


async def test_work_that_fails_keeps_nothing_else_from_being_done() -> None:
    done: list[int] = []
    turns = Turns(2)
    with pytest.raises(ZeroDivisionError):
        turns.do(lambda: 1 / 0)
    for number in range(3):
        turns.do(partial(done.append, number))
    await counted_by_turn(done, 3)
    assert done == [0, 1, 2]


async def test_others_run_between_items_that_come_in_turns() -> None:
    done: list[int] = []
    counting = asyncio.create_task(counted_by_turn(done, 5))
    async for number in in_turns(range(5), 2):
        done.append(number)
    assert await counting == [2, 4, 5]
