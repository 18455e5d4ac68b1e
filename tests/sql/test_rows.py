"""Rows of queries as objects."""

from __future__ import annotations

import asyncio
from typing import Any, Self, cast

import pytest

from sql.rows import MANY, fetch_all


class Answered:
    """A connection, and its cursor, whose answer arrives together with those of others."""

    def __init__(self, rows: int, arrived: asyncio.Event, made: list[str]) -> None:
        self.rowcount = rows
        self._arrived = arrived
        self._made = made

    def cursor(self, row_factory: object) -> Self:
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None: ...

    async def execute(self, query: bytes, values: object) -> None:
        await self._arrived.wait()

    async def fetchall(self) -> list[int]:
        self._made.append("rows")
        return []


@pytest.mark.parametrize(("rows", "in_a_turn"), [(MANY, 3), (MANY + 1, 1)])
async def test_many_rows_of_several_answers_are_made_in_a_turn_each(rows: int, in_a_turn: int) -> None:
    arrived, made = asyncio.Event(), list[str]()
    connections = [cast(Any, Answered(rows, arrived, made)) for _ in range(3)]
    tasks = [asyncio.create_task(fetch_all(one, int, "select 1", ())) for one in connections]
    await asyncio.sleep(0)
    arrived.set()
    while not all(task.done() for task in tasks):
        await asyncio.sleep(0)
        made.append("turn")
    assert max(map(len, "".join("|" if one == "turn" else "x" for one in made).split("|"))) == in_a_turn
