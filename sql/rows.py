"""The shapes in which named queries answer: rows as objects of a class, or as they are."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from psycopg import AsyncConnection, AsyncCursor
from psycopg.rows import DictRow, class_row, dict_row

Row = TypeVar("Row")
MANY = 20
_making: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()
Values = Sequence[Any] | Mapping[str, Any]


async def fetch_all(connection: AsyncConnection, row: type[Row], query: str, values: Values) -> list[Row]:
    """Every row of a query."""
    async with connection.cursor(row_factory=class_row(row)) as cursor:
        await cursor.execute(query.encode(), values)
        return await _all_of(cursor)


async def fetch_one(connection: AsyncConnection, row: type[Row], query: str, values: Values) -> Row | None:
    """The first row of a query, or None."""
    async with connection.cursor(row_factory=class_row(row)) as cursor:
        await cursor.execute(query.encode(), values)
        return await cursor.fetchone()


async def fetch_dicts(connection: AsyncConnection, query: str, values: Values) -> list[DictRow]:
    """Every row of a query, by the names of its columns."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(query.encode(), values)
        return await _all_of(cursor)


async def _all_of(cursor: AsyncCursor[Row]) -> list[Row]:
    """Its rows. Many rows are made in a separate turn of the event loop, so that not all connections share one turn."""
    if cursor.rowcount <= MANY:
        return await cursor.fetchall()
    async with _making.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
        rows = await cursor.fetchall()
        await asyncio.sleep(0)
        return rows


async def fetch_value(connection: AsyncConnection, query: str, values: Values) -> Any:
    """The only column of the only row of a query."""
    row = await (await connection.execute(query.encode(), values)).fetchone()
    assert row is not None
    return row[0]
