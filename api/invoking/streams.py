"""Streamed responses: pieces that a run sends, read from the database and passed on to the HTTP client."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import msgspec
import psycopg

from api.batching import Batcher
from api.database import Database
from api.invoking.waiting import Future
from sql import streams
from sql.errors import DomainError
from sql.streams import StreamPart

POLL_SECONDS = 1.0
END_OF_BODY = b""  # a chunk without bytes: the response is complete, although its run goes on
TROUBLE = (DomainError, psycopg.Error)


class BrokenStream(Exception):
    """The response ends before its end: the run failed, or what it sent was lost."""


@dataclass(slots=True, eq=False)
class Reader:
    """A caller that can receive a streamed response of an invocation."""

    id: UUID
    news: asyncio.Event = field(default_factory=asyncio.Event)


class Streams:
    """The responses that this process passes on."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._readers: dict[UUID, Reader] = {}
        self._takes: Batcher[UUID, list[StreamPart]] = Batcher(self._take)
        self._closings: Batcher[UUID, None] = Batcher(self._close)
        self._tasks: set[asyncio.Task[None]] = set()

    @contextmanager
    def reading(self, id: UUID) -> Iterator[Reader]:
        """Be there for the response of an invocation from before it is sent."""
        reader = self._readers[id] = Reader(id)
        try:
            yield reader
        finally:
            del self._readers[id]

    def notified(self, id: UUID) -> None:
        """A piece of a response has arrived. If its reader is gone, close the stream."""
        reader = self._readers.get(id)
        if reader is not None:
            reader.news.set()
        else:
            self.close(id)

    async def take(self, id: UUID) -> list[StreamPart]:
        """What is there. Raises DomainError."""
        return await self._takes.ask(id)

    def close(self, id: UUID) -> None:
        """Stop reading: the run goes on, and what it sends is discarded."""
        task = asyncio.create_task(self._close_one(id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def poll(self) -> None:
        """Check what readers wait for, forever, in case notifications are lost."""
        while True:
            await asyncio.sleep(POLL_SECONDS)
            if not self._readers:
                continue
            with contextlib.suppress(*TROUBLE):
                for id in await self._started(list(self._readers)):
                    self.notified(id)

    async def _started(self, ids: list[UUID]) -> list[UUID]:
        return await self._database.read(lambda connection: streams.started(connection, ids))

    async def _close_one(self, id: UUID) -> None:
        with contextlib.suppress(*TROUBLE):  # the listener finds out that nobody takes anything
            await self._closings.ask(id)

    async def _take(self, ids: list[UUID]) -> Sequence[list[StreamPart]]:
        async with self._database.connection() as connection:  # taking twice would lose parts
            parts = await streams.take(connection, ids)
        found: dict[UUID, list[StreamPart]] = {}
        for one in parts:
            found.setdefault(one.invocation_id, []).append(one)
        return [found.get(id, []) for id in ids]

    async def _close(self, ids: list[UUID]) -> Sequence[None]:
        await self._database.run_idempotent(lambda connection: streams.close(connection, ids))
        return [None] * len(ids)


class _Sent(msgspec.Struct):
    streamed_bytes: int


class ResponseStream:
    """A response that has begun: its head, and its pieces as they come."""

    def __init__(self, all: Streams, reader: Reader, end: Future, first: list[StreamPart], until: ExitStack) -> None:
        """`until` holds the reader's registrations; `close` releases them."""
        self.id = reader.id
        self.head = first[0].head
        self._streams = all
        self._reader = reader
        self._end = end
        self._parts = first
        self._until = until
        self._passed = 0

    async def pieces(self) -> AsyncIterator[bytes]:
        """Every piece. Raises BrokenStream if the response is incomplete, DomainError without the database."""
        while True:
            for piece in self._parts:
                if piece.body == END_OF_BODY:
                    return
                if piece.body is not None:
                    self._passed += len(piece.body)
                    yield piece.body
            self._reader.news.clear()
            ended = self._end.done()  # then all of it is in the database
            self._parts = await self._streams.take(self.id)
            if any(piece.body is not None for piece in self._parts):
                continue
            if ended:
                break
            if not self._parts:
                raise BrokenStream("the response was abandoned: its client read too slowly, or the database restarted")
            await self._news_or_end()
        self._check_end()

    async def _news_or_end(self) -> None:
        news = asyncio.create_task(self._reader.news.wait())
        either: list[asyncio.Future[Any]] = [news, self._end]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        news.cancel()

    def _check_end(self) -> None:
        answer = self._end.result()
        if answer is None:
            raise BrokenStream("this server stops")
        if answer.status != "success" or answer.response is None:
            raise BrokenStream(f"the run ended as {answer.status}")
        if msgspec.json.decode(answer.response, type=_Sent).streamed_bytes != self._passed:
            raise BrokenStream("a part of the response was lost")

    def close(self) -> None:
        """Stop reading, whether it has ended or not."""
        self._streams.close(self.id)
        self._until.close()
