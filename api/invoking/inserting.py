"""Inserts of all projects together, in which nobody waits for what is wrong with another project's."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar
from uuid import UUID
from weakref import WeakValueDictionary

import psycopg

from api.batching import Batcher
from sql.errors import DomainError, Unavailable

Item = TypeVar("Item")
TROUBLE = (DomainError, psycopg.Error)
LARGEST_INSERT = 100
LARGE_BYTES = 256 * 1024  # beyond, an item keeps the server busy for longer than a small one should wait


class _Refused(Exception):
    """The database refused something of the project's, not necessarily this."""


class Inserts(Generic[Item]):
    """Answers for each item whether its row is new. Raises what the database refuses it for."""

    def __init__(
        self,
        insert: Callable[[Sequence[Item]], Awaitable[list[bool]]],
        project_of: Callable[[Item], UUID],
        size_of: Callable[[Item], int] | None = None,
    ) -> None:
        """`insert` does all of its items in one statement, or raises and does none. `size_of` tells about how many
        bytes one adds to a statement."""
        self._insert = insert
        self._project_of = project_of
        self._size_of = size_of
        self._together: Batcher[Item, bool] = Batcher(self._insert_together, LARGEST_INSERT, size_of)
        self._large: Batcher[Item, bool] = Batcher(self._insert_together, LARGEST_INSERT, size_of)
        # A project's is there while somebody asks it.
        self._apart: WeakValueDictionary[UUID, Batcher[Item, bool]] = WeakValueDictionary()

    async def ask(self, item: Item, *, apart: bool = False) -> bool:
        """`apart`: only with its own project's, from the beginning: it may wait for a transaction of theirs."""
        if not apart:
            try:
                return await (self._large if self._is_large(item) else self._together).ask(item)
            except _Refused:
                pass
        project = self._project_of(item)
        batcher: Batcher[Item, bool] = Batcher(self._insert_apart, LARGEST_INSERT, self._size_of)
        return await self._apart.setdefault(project, batcher).ask(item)

    def _is_large(self, item: Item) -> bool:
        return self._size_of is not None and self._size_of(item) > LARGE_BYTES

    async def _insert_together(self, batch: list[Item]) -> Sequence[bool | BaseException]:
        if (answers := await self._in_one_statement(batch)) is not None:
            return answers
        by_project: dict[UUID, list[int]] = defaultdict(list)
        for position, item in enumerate(batch):
            by_project[self._project_of(item)].append(position)
        found: list[bool | BaseException] = [_Refused()] * len(batch)
        for positions in by_project.values() if len(by_project) > 1 else ():
            if (answers := await self._in_one_statement([batch[n] for n in positions])) is not None:
                for position, answer in zip(positions, answers, strict=True):
                    found[position] = answer
        return found

    async def _insert_apart(self, batch: list[Item]) -> Sequence[bool | BaseException]:
        """One by one where together fails: only the project's own wait for that."""
        if (answers := await self._in_one_statement(batch)) is not None:
            return answers
        return [(await self._insert_apart([item]))[0] for item in batch]

    async def _in_one_statement(self, items: list[Item]) -> Sequence[bool | BaseException] | None:
        """An answer for each; None where some of several are refused, and nobody knows which."""
        try:
            return await self._insert(items)
        except TROUBLE as error:
            return [error] * len(items) if isinstance(error, Unavailable) or len(items) == 1 else None
