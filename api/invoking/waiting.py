"""Waiting for the end of invocations. A notification says that one has ended, and how where there is room for it;
else the row is read."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Literal
from uuid import UUID

import msgspec
import psycopg
from psycopg import AsyncConnection, sql

from api.batching import Batcher
from api.database import OPTIONS, Database
from observing.events import DatabaseFailed
from observing.stream import emit
from sql import invocations
from sql.connecting import with_required_auth
from sql.errors import DomainError
from sql.invocations import InvocationState
from support.tasks import end

POLL_SECONDS = 1.0
LONGEST_BACKOFF = 5.0
LARGEST_READ = 200
TROUBLE = (DomainError, psycopg.Error)
LENGTH_OF_ID = 36
MORE_OF_A_STREAM = "+"

Future = asyncio.Future[InvocationState | None]


class Replies:
    """The invocations this process waits for. Whoever knows `channel` could answer them, so it is random and secret.

    On `stream_channel`, what a run sends before its end is told as well: `on_stream` gets the invocation's id.
    """

    def __init__(self, url: str, database: Database, on_stream: Callable[[UUID], None]) -> None:
        secret = secrets.token_hex(16)
        self.channel, self.stream_channel = f"zmesh_r_{secret}", f"zmesh_s_{secret}"
        self._on_stream = on_stream
        self._url = url
        self._database = database
        self._waiting: dict[UUID, set[Future]] = {}
        self._reads: Batcher[UUID, InvocationState | None] = Batcher(self._read, LARGEST_READ)
        self._tasks: set[asyncio.Task[None]] = set()
        self._released = False

    def start(self) -> None:
        """Listen and poll until `close`."""
        self._spawn(self._listen())
        self._spawn(self._poll())

    async def close(self) -> None:
        self.release()
        await end(self._tasks)

    @property
    def waiting(self) -> int:
        """How many invocations are awaited."""
        return len(self._waiting)

    @property
    def released(self) -> bool:
        """Whether the process is about to end."""
        return self._released

    def release(self) -> None:
        """Stop all waiting, now and from now on: the process is about to end."""
        self._released = True
        for futures in self._waiting.values():
            for future in futures:
                _set(future, None)

    @contextmanager
    def expecting(self, id: UUID) -> Iterator[Future]:
        """Wait from before the invocation is sent, so that no answer can come too early."""
        future: Future = asyncio.get_running_loop().create_future()
        if self._released:
            future.set_result(None)
        self._waiting.setdefault(id, set()).add(future)
        try:
            yield future
        finally:
            futures = self._waiting.get(id)
            if futures is not None:
                futures.discard(future)
                if not futures:
                    del self._waiting[id]

    def check(self, id: UUID) -> None:
        """Read an invocation that may have ended already."""
        self._spawn(self._answer(id))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, id: UUID) -> None:
        try:
            answer = await self._reads.ask(id)
        except TROUBLE:
            return  # the poll tries again
        if answer is not None:
            self._deliver(answer)

    def _deliver(self, answer: InvocationState) -> None:
        for future in self._waiting.get(answer.id, ()):
            _set(future, answer)

    async def _read(self, ids: list[UUID]) -> list[InvocationState | None]:
        ended = await self._database.read(lambda connection: invocations.ended(connection, ids))
        found = {answer.id: answer for answer in ended}
        return [found.get(id) for id in ids]

    async def _listen(self) -> None:
        backoff = 0.1
        while True:
            try:
                async with await AsyncConnection.connect(
                    with_required_auth(self._url),
                    **{**OPTIONS, "autocommit": True, "application_name": "zmesh api replies"},
                ) as connection:
                    for channel in (self.channel, self.stream_channel):
                        await connection.execute(sql.SQL("listen {}").format(sql.Identifier(channel)))
                    backoff = 0.1
                    await self._check_all()  # for what ended while nobody listened
                    async for notification in connection.notifies():
                        self._notified(notification.payload)
            except (psycopg.Error, OSError) as error:
                emit(DatabaseFailed("replies", str(error).strip(), "polling until the connection is back"))
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, LONGEST_BACKOFF)

    def _notified(self, payload: str) -> None:
        try:
            id = UUID(payload[:LENGTH_OF_ID])
        except ValueError:
            return
        if payload[LENGTH_OF_ID:] == MORE_OF_A_STREAM:
            self._on_stream(id)
            return
        if id not in self._waiting:
            return
        answer = read_answer(id, payload[LENGTH_OF_ID:])
        if answer is None:
            self.check(id)
        else:
            self._deliver(answer)

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            await self._check_all()

    async def _check_all(self) -> None:
        ids = list(self._waiting)
        for start in range(0, len(ids), LARGEST_READ):
            try:
                answers = await self._read(ids[start : start + LARGEST_READ])
            except TROUBLE:
                return  # the next round tries again
            for answer in answers:
                if answer is not None:
                    self._deliver(answer)


class End(msgspec.Struct):
    """What zmesh.inline_outcome() writes after the id."""

    status: Literal["success", "error", "timeout", "cancelled"]
    version: int | None
    duration_ms: int | None
    queue_ms: float | None
    start_ms: float | None
    result: msgspec.Raw
    error: msgspec.Raw
    response: msgspec.Raw


_ENDS = msgspec.json.Decoder(End)


def read_answer(id: UUID, text: str) -> InvocationState | None:
    """The final state in a notification; None if it contains none, or one that cannot be parsed."""
    try:
        end = _ENDS.decode(text)
    except (ValueError, RecursionError):
        return None
    result, error, response = (
        None if json == "null" else json
        for json in (bytes(raw).decode() for raw in (end.result, end.error, end.response))
    )
    return InvocationState(
        id, end.status, end.version, end.duration_ms, end.queue_ms, end.start_ms, result, error, response
    )


def _set(future: Future, answer: InvocationState | None) -> None:
    if not future.done():
        future.set_result(answer)
