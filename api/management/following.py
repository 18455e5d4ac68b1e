"""An invocation's log as server-sent events, from any line on until its end. The lines are read from the database,
whoever writes them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import msgspec
import psycopg

from api.batching import Batcher
from api.database import Database
from api.http.problems import Problem
from api.invoking.waiting import Replies
from sql import history
from sql.errors import DomainError
from sql.history import Place, Progress
from support.tasks import in_turns

POLL_SECONDS = 0.4
QUIET_SECONDS = 15.0  # proxies end connections that say nothing for longer
LINES_AT_ONCE = 80  # of each invocation, and so many invocations in a statement: a loop takes that in its stride
LARGEST_READ = 25
TOLD_AT_ONCE = 5  # in a turn of the event loop: each of them encodes what it is told
END = "end"
Point = tuple[int, int]
News = list[Progress]


def position_of(last_event_id: str | None) -> Point | None:
    """The line after which to continue; None if the client has received the end. Raises Problem 400."""
    if not last_event_id:
        return 0, 0
    if last_event_id == END:
        return None
    match = re.fullmatch(r"([0-9]{1,5})-([0-9]{1,9})", last_event_id)
    if match is None or int(match[1]) >= 2**15:
        raise Problem(400, "invalid_header", "Last-Event-ID is not the id of an event of this stream.")
    return int(match[1]), int(match[2])


class Followers:
    """All clients that follow logs in this process. Those that wait for news share one poll."""

    def __init__(self, database: Database, replies: Replies) -> None:
        self._database = database
        self._replies = replies
        self._reads: Batcher[Place, News] = Batcher(self._read, TOLD_AT_ONCE)
        self._quiet: dict[asyncio.Future[News], Place] = {}
        self._polling: asyncio.Task[None] | None = None

    async def follow(self, id: UUID, point: Point) -> AsyncIterator[bytes]:
        """Events: `log` for each line, named by attempt and number, then `end` with the status."""
        yield b"retry: 1000\n\n"
        while not self._replies.released:
            try:
                news = await self._news(Place(id, *point))
            except DomainError:
                await asyncio.sleep(POLL_SECONDS)  # the database comes back, or the caller goes
                continue
            lines = [one for one in news if one.line is not None]
            if lines:
                point = (lines[-1].attempt or 0, lines[-1].line or 0)
                yield b"".join(map(_line_event, lines))  # sending a piece costs more than encoding a line
            if not news:
                yield b": still here\n\n"
            elif news[0].ended and len(lines) < LINES_AT_ONCE:
                yield _event(END, END, _end_data(news[0]))
                return

    async def _news(self, place: Place) -> News:
        """Events after a position; empty after a timeout. Raises DomainError."""
        if news := await self._reads.ask(place):
            return news
        future: asyncio.Future[News] = asyncio.get_running_loop().create_future()
        self._quiet[future] = place
        if self._polling is None:
            self._polling = asyncio.create_task(self._poll())
        try:
            await asyncio.wait([future], timeout=QUIET_SECONDS)
            return future.result() if future.done() else []
        finally:
            self._quiet.pop(future, None)

    async def _poll(self) -> None:
        try:
            while self._quiet:
                await asyncio.sleep(POLL_SECONDS)
                waiting = list(self._quiet.items())
                for start in range(0, len(waiting), LARGEST_READ):
                    await self._deliver(waiting[start : start + LARGEST_READ])
        finally:
            self._polling = None

    async def _deliver(self, waiting: list[tuple[asyncio.Future[News], Place]]) -> None:
        """Wake the followers that have new lines, and all of them at the end of the process."""
        try:
            found = await self._read([place for _, place in waiting])
        except (DomainError, psycopg.Error):
            found = [[] for _ in waiting]  # the next round tries again
        async for (future, _), news in in_turns(zip(waiting, found, strict=True), TOLD_AT_ONCE):
            if (news or self._replies.released) and not future.done():
                future.set_result(news)

    async def _read(self, places: list[Place]) -> list[News]:
        distinct = list(dict.fromkeys(places))  # many may follow one log: its lines are read once
        found = await self._database.read(lambda c: history.progress(c, distinct, LINES_AT_ONCE))
        news = dict(zip(distinct, found, strict=True))
        return [news[place] for place in places]


def _line_event(one: Progress) -> bytes:
    names = ("at", "level", "message", "attempt", "line")
    return _event("log", f"{one.attempt}-{one.line}", {name: getattr(one, name) for name in names})


def _end_data(one: Progress) -> dict[str, Any]:
    status = None if one.status == "gone" else one.status
    return {"status": status, "version": one.version, "duration_ms": one.duration_ms}


def _event(name: str, id: str, data: dict[str, Any]) -> bytes:
    return f"event: {name}\nid: {id}\ndata: ".encode() + msgspec.json.encode(data) + b"\n\n"
