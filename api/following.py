"""An invocation's log as server-sent events, from any line on until its end. The lines are read from the database,
whoever writes them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import msgspec

from api.database import Database
from api.problems import Problem
from api.waiting import Replies
from sql import history
from sql.errors import DomainError
from sql.history import Progress

POLL_SECONDS = 0.4
QUIET_SECONDS = 15.0  # proxies end connections that say nothing for longer
LINES_AT_ONCE = 500
END = "end"
Place = tuple[int, int]


def place_of(last_event_id: str | None) -> Place | None:
    """The line after which to go on; None where the end has been told. Raises Problem 400."""
    if not last_event_id:
        return 0, 0
    if last_event_id == END:
        return None
    match = re.fullmatch(r"([0-9]{1,5})-([0-9]{1,9})", last_event_id)
    if match is None or int(match[1]) >= 2**15:
        raise Problem(400, "invalid_header", "Last-Event-ID is not one that this stream gave out.")
    return int(match[1]), int(match[2])


async def follow(database: Database, replies: Replies, id: UUID, place: Place) -> AsyncIterator[bytes]:
    """Events: `log` for each line, named by attempt and number, then `end` with the status."""
    quiet = 0.0
    yield b"retry: 1000\n\n"
    while not replies.released:
        try:
            found = await _progress(database, id, place)
        except DomainError:
            await asyncio.sleep(POLL_SECONDS)  # the database comes back, or the caller goes
            continue
        lines = [one for one in found if one.line is not None]
        for one in lines:
            place = (one.attempt or 0, one.line or 0)
            yield _line_event(one)
        if len(lines) == LINES_AT_ONCE:
            continue
        if not found or found[0].ended:
            yield _event(END, END, _standing(found[0] if found else None))
            return
        quiet = 0.0 if lines else quiet + POLL_SECONDS
        if quiet >= QUIET_SECONDS:
            yield b": still here\n\n"
            quiet = 0.0
        await asyncio.sleep(POLL_SECONDS)


async def _progress(database: Database, id: UUID, place: Place) -> list[Progress]:
    return await database.read(lambda c: history.progress(c, id, *place, LINES_AT_ONCE))


def _line_event(one: Progress) -> bytes:
    names = ("at", "level", "message", "attempt", "line")
    return _event("log", f"{one.attempt}-{one.line}", {name: getattr(one, name) for name in names})


def _standing(one: Progress | None) -> dict[str, Any]:
    if one is None:
        return {"status": None, "version": None, "duration_ms": None}
    return {"status": one.status, "version": one.version, "duration_ms": one.duration_ms}


def _event(name: str, id: str, data: dict[str, Any]) -> bytes:
    return f"event: {name}\nid: {id}\ndata: ".encode() + msgspec.json.encode(data) + b"\n\n"
