"""A project's changes as server-sent events. All clients of this process share one poll of the database."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any
from uuid import UUID

import msgspec
import psycopg

from api.database import Database
from api.http.problems import Problem, busy
from api.invoking.waiting import Replies
from api.management.queue import QueueFigures
from sql import live
from sql.errors import DomainError
from sql.live import FreshLine, InvocationChange

POLL_SECONDS = 0.5
LOOK_BACK_SECONDS = 3.0  # commits arrive out of order, and a poll may be late
QUIET_SECONDS = 15.0  # proxies end connections that say nothing for longer
ALLOWED_SECONDS = 30.0  # how long a client that is no longer a member may go on
FUNCTIONS_EVERY = 2  # polls
QUEUE_EVERY = 4
MOST_CHANGES = 500
MOST_LINES = 500
REMEMBERED = 5000  # of each project, so that what was told is not told again
MOST_CLIENTS = 200  # of a project in this process

Check = Callable[[], Awaitable[None]]
TOPICS = ("invocations", "functions", "queue", "logs")
_CHANGE = [f.name for f in fields(InvocationChange) if f.name not in ("project_id", "error")]
_LINE = [f.name for f in fields(FreshLine) if f.name != "project_id"]


@dataclass(eq=False)
class _Client:
    """What a client has not been sent yet: at most one state of each invocation."""

    project_id: UUID
    topics: Collection[str]
    function_id: UUID | None
    news: asyncio.Event = field(default_factory=asyncio.Event)
    _invocations: dict[UUID, dict[str, Any]] = field(default_factory=dict)
    _truncated: bool = False
    _lines: list[dict[str, Any]] = field(default_factory=list)
    _changed: set[UUID] = field(default_factory=set)
    _count: int | None = None
    _told_count: int | None = None
    _queue: Any = None

    def add(self, items: Iterable[dict[str, Any]], *, truncated: bool) -> None:
        """Invocations that changed; `truncated`: there were more."""
        self._invocations.update((item["id"], item) for item in items)
        self._truncated |= truncated or len(self._invocations) > MOST_CHANGES
        if self._truncated:
            self._invocations.clear()  # the client is to read its lists again
        if self._invocations or self._truncated:
            self.news.set()

    def add_lines(self, lines: Iterable[dict[str, Any]]) -> None:
        """Lines that were printed; of very many, the last ones."""
        own = [line for line in lines if self.function_id in (None, line["function_id"])]
        self._lines = [*self._lines, *own][-MOST_LINES:]
        if self._lines:
            self.news.set()

    def add_functions(self, count: int, changed: Iterable[UUID]) -> None:
        """Functions that changed, and how many there are."""
        self._changed.update(changed)
        self._count = count
        if self._told_count is None:
            self._told_count = count  # the client has read its lists itself
        if self._changed or count != self._told_count:
            self.news.set()

    def set_queue(self, figures: Any) -> None:
        """The latest figures of the queue."""
        self._queue = figures
        self.news.set()

    def take(self) -> list[bytes]:
        """The events to send now."""
        self.news.clear()
        events = [_event("log", line) for line in self._lines]
        if self._invocations or self._truncated:
            items = list(self._invocations.values())
            events.append(_event("invocations", {"items": items, "truncated": self._truncated}))
        if self._changed or self._count != self._told_count:
            events.append(_event("functions", {"changed": list(self._changed), "count": self._count}))
        if self._queue is not None:
            events.append(_event("queue", self._queue))
        self._invocations, self._truncated, self._lines = {}, False, []
        self._changed, self._told_count, self._queue = set(), self._count, None
        return events


class LiveFeeds:
    """Polls while somebody watches: one statement for all projects that are watched, whatever the number of clients."""

    def __init__(self, database: Database, replies: Replies, queue: QueueFigures) -> None:
        self._database = database
        self._replies = replies
        self._queue = queue
        self._clients: set[_Client] = set()
        self._told: dict[UUID, OrderedDict[Any, None]] = {}
        self._polling: asyncio.Task[None] | None = None

    def require_room(self, project_id: UUID) -> None:
        """Raises Problem 503 where too many watch this project already."""
        if sum(client.project_id == project_id for client in self._clients) >= MOST_CLIENTS:
            raise busy(f"{MOST_CLIENTS} clients are already watching this project.")

    async def follow(
        self, project_id: UUID, topics: Collection[str], function_id: UUID | None, check: Check
    ) -> AsyncIterator[bytes]:
        """Events, until the client goes or `check` raises Problem: it may be a member no more."""
        yield b"retry: 1000\n\n"
        client = _Client(project_id, topics, function_id)
        self._clients.add(client)
        if self._polling is None:
            self._polling = asyncio.create_task(self._poll())
        checked = time.monotonic()
        try:
            while not self._replies.released:
                if await _is_set(client.news):
                    for event in client.take():
                        yield event
                else:
                    yield b": still here\n\n"
                if time.monotonic() - checked > ALLOWED_SECONDS:
                    await check()
                    checked = time.monotonic()
        except (Problem, DomainError):
            return  # the client comes again, and is told why it may not
        finally:
            self._clients.discard(client)

    async def _poll(self) -> None:
        round = 0
        try:
            while self._clients and not self._replies.released:
                with contextlib.suppress(DomainError, psycopg.Error):  # the next round tries again
                    await self._look(round)
                round += 1
                await asyncio.sleep(POLL_SECONDS)
        finally:
            self._polling = None
            self._told.clear()
            for client in self._clients:
                client.news.set()

    async def _look(self, round: int) -> None:
        await self._look_at_invocations()
        await self._look_at_logs()
        if round % FUNCTIONS_EVERY == 0:
            await self._look_at_functions()
        if round % QUEUE_EVERY == 0:
            for project_id in self._watched("queue"):
                figures = await self._queue.summary(project_id)
                for client in self._watching("queue", project_id):
                    client.set_queue(figures)

    async def _look_at_invocations(self) -> None:
        projects = self._watched("invocations")
        if not projects:
            return
        found = await self._database.read(lambda c: live.changes(c, projects, LOOK_BACK_SECONDS, MOST_CHANGES + 1))
        for project_id in projects:
            own = [one for one in found if one.project_id == project_id]
            fresh = self._untold(project_id, own, lambda one: (one.id, one.status, one.attempt))
            items = [_item(one) for one in fresh]
            for client in self._watching("invocations", project_id):
                client.add(items, truncated=len(found) > MOST_CHANGES and bool(items))

    async def _look_at_logs(self) -> None:
        projects = self._watched("logs")
        if not projects:
            return
        found = await self._database.read(lambda c: live.fresh_lines(c, projects, LOOK_BACK_SECONDS, MOST_LINES))
        for project_id in projects:
            own = [one for one in found if one.project_id == project_id]
            fresh = self._untold(project_id, own, lambda one: (one.invocation_id, one.attempt, one.line, "line"))
            lines = [{name: getattr(one, name) for name in _LINE} for one in fresh]
            for client in self._watching("logs", project_id):
                client.add_lines(lines)

    async def _look_at_functions(self) -> None:
        projects = self._watched("functions")
        if not projects:
            return
        found = await self._database.read(lambda c: live.function_changes(c, projects, LOOK_BACK_SECONDS, MOST_CHANGES))
        for one in found:
            revisions = list(zip(one.changed, one.revisions, strict=True))
            fresh = [id for id, _ in self._untold(one.project_id, revisions, lambda change: change)]
            for client in self._watching("functions", one.project_id):
                client.add_functions(one.count, fresh)

    def _untold(self, project_id: UUID, found: Sequence[Any], key_of: Callable[[Any], Any]) -> list[Any]:
        told = self._told.setdefault(project_id, OrderedDict())
        fresh = [one for one in found if key_of(one) not in told]
        told.update((key_of(one), None) for one in fresh)
        while len(told) > REMEMBERED:
            told.popitem(last=False)
        return fresh

    def _watched(self, topic: str) -> list[UUID]:
        return list({client.project_id for client in self._clients if topic in client.topics})

    def _watching(self, topic: str, project_id: UUID) -> list[_Client]:
        return [one for one in self._clients if one.project_id == project_id and topic in one.topics]


async def _is_set(event: asyncio.Event) -> bool:
    try:
        async with asyncio.timeout(QUIET_SECONDS):
            await event.wait()
    except TimeoutError:
        return False
    return True


def _item(one: InvocationChange) -> dict[str, Any]:
    error = None if one.error is None else msgspec.Raw(one.error.encode())
    return {**{name: getattr(one, name) for name in _CHANGE}, "error": error}


def _event(name: str, data: Any) -> bytes:
    return f"event: {name}\ndata: ".encode() + msgspec.json.encode(data) + b"\n\n"
