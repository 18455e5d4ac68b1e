"""A project's changes as server-sent events. All clients of this process share one poll of the database."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar
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
from support.tasks import in_turns

POLL_SECONDS = 0.5
LOOK_BACK_SECONDS = 3.0  # commits arrive out of order, and a poll may be late
QUIET_SECONDS = 15.0  # proxies end connections that say nothing for longer
ALLOWED_SECONDS = 30.0  # how long a client that is no longer a member may go on
FUNCTIONS_EVERY = 2  # polls
QUEUE_EVERY = 4
MOST_CHANGES = 500
MOST_LINES = 500
MOST_LINE_BYTES = 512 * 1024
CLIENTS_AT_ONCE = 10  # are told in a turn of the event loop
REMEMBERED = 5000  # of each project, so that what was told is not told again
MOST_CLIENTS = 200  # of a project in this process

Check = Callable[[], Awaitable[None]]
OfProject = TypeVar("OfProject", FreshLine, InvocationChange)
TOPICS = ("invocations", "functions", "queue", "logs")
_CHANGE = [f.name for f in fields(InvocationChange) if f.name not in ("project_id", "error")]
_LINE = [f.name for f in fields(FreshLine) if f.name != "project_id"]


@dataclass(eq=False)
class _Client:
    """What a client has not been sent yet: at most one state of each invocation. Everything large is encoded already,
    once for all clients."""

    project_id: UUID
    topics: Collection[str]
    function_id: UUID | None
    news: asyncio.Event = field(default_factory=asyncio.Event)
    _invocations: dict[str, msgspec.Raw] = field(default_factory=dict)
    _truncated: bool = False
    _lines: deque[bytes] = field(default_factory=deque)
    _line_bytes: int = 0
    _changed: set[UUID] = field(default_factory=set)
    _count: int | None = None
    _told_count: int | None = None
    _queue: bytes = b""

    def add(self, items: Mapping[str, msgspec.Raw], *, truncated: bool) -> None:
        """Invocations that changed, by their ids; `truncated`: there were more."""
        self._invocations.update(items)
        self._truncated |= truncated or len(self._invocations) > MOST_CHANGES
        if self._truncated:
            self._invocations.clear()  # the client is to read its lists again
        if self._invocations or self._truncated:
            self.news.set()

    def add_lines(self, lines: Iterable[tuple[UUID, bytes]]) -> None:
        """Lines that functions printed; only the last ones if there are very many."""
        own = [line for function_id, line in lines if self.function_id in (None, function_id)]
        self._lines.extend(own)
        self._line_bytes += sum(map(len, own))
        while len(self._lines) > MOST_LINES or self._line_bytes > MOST_LINE_BYTES:
            self._line_bytes -= len(self._lines.popleft())
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

    def set_queue(self, event: bytes) -> None:
        """The latest figures of the queue."""
        self._queue = event
        self.news.set()

    def take(self) -> bytes:
        """The events to send now: in one piece, since sending a piece costs more than encoding it."""
        self.news.clear()
        events = [*self._lines]
        if self._invocations or self._truncated:
            items = list(self._invocations.values())
            events.append(_event("invocations", {"items": items, "truncated": self._truncated}))
        if self._changed or self._count != self._told_count:
            events.append(_event("functions", {"changed": list(self._changed), "count": self._count}))
        events.append(self._queue)
        self._lines.clear()
        self._invocations, self._truncated, self._line_bytes = {}, False, 0
        self._changed, self._told_count, self._queue = set(), self._count, b""
        return b"".join(events)


class LiveFeeds:
    """Polls while somebody watches: one statement for all projects that are watched, whatever the number of clients."""

    def __init__(self, database: Database, replies: Replies, queue: QueueFigures) -> None:
        self._database = database
        self._replies = replies
        self._queue = queue
        self._clients: dict[UUID, set[_Client]] = {}  # by project
        self._told: dict[UUID, OrderedDict[Any, None]] = {}
        self._polling: asyncio.Task[None] | None = None

    def require_room(self, project_id: UUID) -> None:
        """Raises Problem 503 where too many watch this project already."""
        if not self._has_room(project_id):
            raise busy(f"{MOST_CLIENTS} clients are already watching this project.")

    def _has_room(self, project_id: UUID) -> bool:
        return len(self._clients.get(project_id, ())) < MOST_CLIENTS

    async def follow(
        self, project_id: UUID, topics: Collection[str], function_id: UUID | None, check: Check
    ) -> AsyncIterator[bytes]:
        """Events, until the client goes or `check` raises Problem: it may be a member no more."""
        if not self._has_room(project_id):
            return  # others were faster: the client reconnects and gets the 503
        client = _Client(project_id, topics, function_id)
        self._clients.setdefault(project_id, set()).add(client)
        if self._polling is None:
            self._polling = asyncio.create_task(self._poll())
        checked = time.monotonic()
        try:
            yield b"retry: 1000\n\n"
            while not self._replies.released:
                yield client.take() if await _is_set(client.news) else b": still here\n\n"
                if time.monotonic() - checked > ALLOWED_SECONDS:
                    await check()
                    checked = time.monotonic()
        except (Problem, DomainError):
            return  # the client comes again, and is told why it may not
        finally:
            self._forget(client)

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
            for clients in self._clients.values():
                for client in clients:
                    client.news.set()

    def _forget(self, client: _Client) -> None:
        own = self._clients[client.project_id]
        own.discard(client)
        if not own:
            del self._clients[client.project_id]

    async def _look(self, round: int) -> None:
        await self._look_at_invocations()
        await self._look_at_logs()
        if round % FUNCTIONS_EVERY == 0:
            await self._look_at_functions()
        if round % QUEUE_EVERY == 0:
            for project_id in self._watched("queue"):
                event = _event("queue", await self._queue.summary(project_id))
                async for client in self._watching("queue", project_id):
                    client.set_queue(event)

    async def _look_at_invocations(self) -> None:
        projects = self._watched("invocations")
        if not projects:
            return
        found = await self._database.read(lambda c: live.changes(c, projects, LOOK_BACK_SECONDS, MOST_CHANGES + 1))
        by_project = _by_project(found)
        for project_id, own in by_project.items():
            fresh = self._untold(project_id, own, lambda one: (one.id.int, one.status, one.attempt))
            items = {str(one.id): _item(one) for one in fresh}
            left_out = len(found) > MOST_CHANGES and len(own) >= MOST_CHANGES // len(by_project)
            async for client in self._watching("invocations", project_id):
                client.add(items, truncated=left_out and bool(items))

    async def _look_at_logs(self) -> None:
        projects = self._watched("logs")
        if not projects:
            return
        found = await self._database.read(lambda c: live.fresh_lines(c, projects, LOOK_BACK_SECONDS, MOST_LINES))
        for project_id, own in _by_project(found).items():
            fresh = self._untold(project_id, own, lambda one: (one.invocation_id.int, one.attempt, one.line, "line"))
            lines = [(one.function_id, _event("log", {name: getattr(one, name) for name in _LINE})) for one in fresh]
            async for client in self._watching("logs", project_id):
                client.add_lines(lines)

    async def _look_at_functions(self) -> None:
        projects = self._watched("functions")
        if not projects:
            return
        found = await self._database.read(lambda c: live.function_changes(c, projects, LOOK_BACK_SECONDS, MOST_CHANGES))
        for one in found:
            revisions = list(zip(one.changed, one.revisions, strict=True))
            fresh = [id for id, _ in self._untold(one.project_id, revisions, lambda change: change)]
            async for client in self._watching("functions", one.project_id):
                client.add_functions(one.count, fresh)

    def _untold(self, project_id: UUID, found: Sequence[Any], key_of: Callable[[Any], Any]) -> list[Any]:
        told = self._told.setdefault(project_id, OrderedDict())
        fresh = [one for one in found if key_of(one) not in told]
        told.update((key_of(one), None) for one in fresh)
        while len(told) > REMEMBERED:
            told.popitem(last=False)
        return fresh

    def _watched(self, topic: str) -> list[UUID]:
        return [id for id, clients in self._clients.items() if any(topic in client.topics for client in clients)]

    def _watching(self, topic: str, project_id: UUID) -> AsyncIterator[_Client]:
        clients = [client for client in self._clients.get(project_id, ()) if topic in client.topics]
        return in_turns(clients, CLIENTS_AT_ONCE)


async def _is_set(event: asyncio.Event) -> bool:
    try:
        async with asyncio.timeout(QUIET_SECONDS):
            await event.wait()
    except TimeoutError:
        return False
    return True


def _by_project(found: Iterable[OfProject]) -> dict[UUID, list[OfProject]]:
    own: dict[UUID, list[OfProject]] = {}
    for one in found:
        own.setdefault(one.project_id, []).append(one)
    return own


def _item(one: InvocationChange) -> msgspec.Raw:
    error = None if one.error is None else msgspec.Raw(one.error.encode())
    return msgspec.Raw(msgspec.json.encode({**{name: getattr(one, name) for name in _CHANGE}, "error": error}))


def _event(name: str, data: Any) -> bytes:
    return f"event: {name}\ndata: ".encode() + msgspec.json.encode(data) + b"\n\n"
