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
