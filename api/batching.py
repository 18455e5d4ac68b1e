"""Natural batching: what callers ask for while a round trip is under way goes together in the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import Generic, TypeVar

Item = TypeVar("Item")
Answer = TypeVar("Answer")
MOST_BYTES = 4 * 1024 * 1024  # of several items that go together


class Batcher(Generic[Item, Answer]):
    """Calls `flush` with one item when nothing is under way, else with all that came meanwhile. No timer."""

    def __init__(
        self,
        flush: Callable[[list[Item]], Awaitable[Sequence[Answer | BaseException]]],
        largest: int = 100,
        size_of: Callable[[Item], int] | None = None,
    ) -> None:
        """`flush` returns an answer, or the exception to raise, for each item in order. Where `size_of` tells the bytes
        of an item, one that is large goes alone."""
        self._flush = flush
        self._largest = largest
        self._size_of = size_of
        self._waiting: list[tuple[Item, asyncio.Future[Answer]]] = []
        self._worker: asyncio.Task[None] | None = None

    async def ask(self, item: Item) -> Answer:
        """The answer for one item. A caller that goes away does not take its batch along."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._worker is None:
            # In a context of its own: the worker serves many callers, and logs in the name of none.
            self._worker = asyncio.create_task(self._work(), context=Context())
        return await future

    async def _work(self) -> None:
        try:
            while self._waiting:
                count = self._next_count()
                batch, self._waiting = self._waiting[:count], self._waiting[count:]
                await self._answer(batch)
        finally:
            self._worker = None

    def _next_count(self) -> int:
        most = min(self._largest, len(self._waiting))
        if self._size_of is None:
            return most
        size = 0
        for count, (item, _) in enumerate(self._waiting[:most]):
            size += self._size_of(item)
            if count and size > MOST_BYTES:
                return count
        return most

    async def _answer(self, batch: list[tuple[Item, asyncio.Future[Answer]]]) -> None:
        answers: Sequence[Answer | BaseException]
        try:
            answers = await self._flush([item for item, _ in batch])
        except Exception as error:
            answers = [error] * len(batch)
        for (_, future), answer in zip(batch, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, BaseException):
                future.set_exception(answer)
            else:
                future.set_result(answer)
