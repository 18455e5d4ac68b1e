"""Passes on what runs stream: many streams in one statement, each no faster than its reader reads."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any
from uuid import UUID

from psycopg_pool import AsyncConnectionPool

from listener.postgres import DATABASE_ERRORS
from observing.events import DatabaseFailed
from observing.stream import emit
from sql import streams
from sql.streams import Chunk

WINDOW_BYTES = 256 * 1024  # of one stream, between the run and its reader
POLL_SECONDS = 1.0
RETRY_SECONDS = 0.5
PATIENCE_SECONDS = 30.0


class Stream:
    """One run's response on its way to the database. Without a reader it accepts everything and keeps nothing."""

    def __init__(self, id: UUID, lease: UUID, changed: asyncio.Event) -> None:
        self.id = id
        self.lease = lease
        self.read = True
        self.progressed_at = time.monotonic()  # when something was last written or taken
        self._changed = changed
        self._head: str | None = None
        self._pending = bytearray()
        self._end_pending = False
        self._chunk: Chunk | None = None  # being written; again, if the answer does not come
        self._number = 0
        self._untaken = 0
        self._blocked = False
        self._moved = asyncio.Event()

    # Called by the sandbox

    def start(self, head: Mapping[str, Any]) -> None:
        """Keep the head: it goes to the database with the first chunk."""
        self._head = json.dumps(head)

    def write(self, data: bytes) -> None:
        """Take a piece; an empty one is the end of the response, of a run that goes on."""
        if self.read:
            self._pending += data
            self._end_pending = self._end_pending or not data
            self._changed.set()

    @property
    def full(self) -> bool:
        """Whether the window is used up."""
        return self.read and self._size >= WINDOW_BYTES

    async def room(self) -> None:
        """Return when at least half of the window is free."""
        self._blocked = True
        self._changed.set()  # from now on the listener polls for it
        while self.read and self._size > WINDOW_BYTES // 2:
            await self._moved.wait()
        self._blocked = False

    # Called by the listener

    async def written(self, cancel: asyncio.Event) -> None:
        """Return when everything is in the database, when there is no reader, or on `cancel`."""
        cancelled = asyncio.create_task(cancel.wait())
        while self.read and (self._pending or self._end_pending or self._chunk) and not cancel.is_set():
            moved = asyncio.create_task(self._moved.wait())
            await asyncio.wait([moved, cancelled], return_when=asyncio.FIRST_COMPLETED)
            moved.cancel()
        cancelled.cancel()

    def next_chunk(self) -> Chunk | None:
        """What is to be written now: what has come, and then an empty chunk as the end."""
        if self._chunk is None and (self._pending or self._end_pending):
            self._end_pending = self._end_pending and bool(self._pending)
            self._number += 1
            self._chunk = Chunk(self.id, self._number, bytes(self._pending), self._head)
            self._pending.clear()
            self._head = None
        return self._chunk

    @property
    def waits(self) -> bool:
        """Whether the run can continue only after its reader takes something."""
        return self.read and self._blocked and self._untaken > 0

    def was_written(self, untaken: int | None) -> None:
        """The chunk is in the database; `untaken` as in `has_untaken`."""
        self._chunk = None
        if self._end_pending:
            self._changed.set()
        self.progressed_at = time.monotonic()
        self.has_untaken(untaken)

    def has_untaken(self, untaken: int | None) -> None:
        """How many bytes the reader has yet to take; None if there is no reader any more."""
        if untaken is None:
            self.abandon()
            return
        if untaken < self._untaken:
            self.progressed_at = time.monotonic()
        self._untaken = untaken
        self._move()

    def abandon(self) -> None:
        """From now on there is no reader."""
        self.read = False
        self._end_pending = False
        self._chunk = None
        self._pending.clear()
        self._move()

    @property
    def _size(self) -> int:
        return len(self._pending) + (len(self._chunk.body) if self._chunk else 0) + self._untaken

    def _move(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()


class Streams:
    """The streams of this listener and the task that writes them."""

    def __init__(self, pool: AsyncConnectionPool, changed: asyncio.Event) -> None:
        """`changed` is set here when there is something to write, elsewhere when a reader may have taken something."""
        self._pool = pool
        self._changed = changed
        self._open: dict[UUID, Stream] = {}

    @contextmanager
    def opened(self, id: UUID, lease: UUID) -> Iterator[Stream]:
        """The stream of an invocation while it runs."""
        stream = self._open[id] = Stream(id, lease, self._changed)
        try:
            yield stream
        finally:
            stream.abandon()
            del self._open[id]

    async def run(self) -> None:
        """Write chunks as they arrive, forever."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS if self._waiting() else None):
                    await self._changed.wait()
            self._changed.clear()
            try:
                await self._write()
                await self._look()
            except DATABASE_ERRORS as error:
                emit(DatabaseFailed("streams", str(error).strip(), "trying again"))
                await asyncio.sleep(RETRY_SECONDS)
                self._changed.set()

    def _waiting(self) -> list[Stream]:
        return [stream for stream in self._open.values() if stream.waits]

    async def _write(self) -> None:
        found = [(stream, stream.next_chunk()) for stream in self._open.values() if stream.read]
        for lease in {stream.lease for stream, chunk in found if chunk}:
            chunks = {stream: chunk for stream, chunk in found if chunk and stream.lease == lease}
            async with self._pool.connection() as connection:
                left = await streams.write(connection, lease, list(chunks.values()), WINDOW_BYTES)
            for stream in chunks:
                stream.was_written(left.get(stream.id))

    async def _look(self) -> None:
        """Check what was taken of the streams that wait for it, and give up on readers that take nothing."""
        waiting = self._waiting()
        if not waiting:
            return
        async with self._pool.connection() as connection:
            left = await streams.untaken(connection, [stream.id for stream in waiting])
            for stream in waiting:
                stream.has_untaken(left.get(stream.id))
            late = time.monotonic() - PATIENCE_SECONDS
            if gone := [stream for stream in waiting if stream.waits and stream.progressed_at < late]:
                await streams.close(connection, [stream.id for stream in gone])
                for stream in gone:
                    stream.abandon()
