"""Responses that go from a run to an HTTP client piece by piece: what the listener writes and the API takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from psycopg import AsyncConnection

from sql.rows import fetch_all

STREAMS_CHANNEL = "zmesh_streams"


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes to write, in the order of `number`; the first one of a stream has its head, as JSON text."""

    id: UUID
    number: int
    body: bytes
    head: str | None


@dataclass(frozen=True, slots=True)
class Untaken:
    """A stream that somebody reads, and how many of its bytes wait in the database."""

    id: UUID
    untaken: int


@dataclass(frozen=True, slots=True)
class StreamPart:
    """A chunk of a stream, or a stream that has none at the moment."""

    invocation_id: UUID
    head: str
    number: int | None
    body: bytes | None


async def write(connection: AsyncConnection, listener: UUID, chunks: Sequence[Chunk], window: int) -> dict[UUID, int]:
    """Write at most one chunk of each stream; returns how much is not taken of those that are read."""
    columns = ([c.id for c in chunks], [c.head for c in chunks], [c.number for c in chunks], [c.body for c in chunks])
    query = "select * from zmesh.write_streams(%s, %s::uuid[], %s::text[], %s::integer[], %s::bytea[], %s)"
    return _by_id(await fetch_all(connection, Untaken, query, (listener, *columns, window)))


async def untaken(connection: AsyncConnection, ids: Sequence[UUID]) -> dict[UUID, int]:
    """How much is not taken of those of these streams that are read."""
    return _by_id(await fetch_all(connection, Untaken, "select * from zmesh.unread_bytes_of(%s)", (list(ids),)))


async def take(connection: AsyncConnection, ids: Sequence[UUID]) -> list[StreamPart]:
    """What is there of these streams, in order; nothing of one that does not exist."""
    return await fetch_all(connection, StreamPart, "select * from zmesh.take_chunks(%s)", (list(ids),))


async def started(connection: AsyncConnection, ids: Sequence[UUID]) -> list[UUID]:
    """Which of these invocations have begun to stream."""
    cursor = await connection.execute(
        "select invocation_id from zmesh.streams where invocation_id = any (%s)", (list(ids),)
    )
    return [row[0] for row in await cursor.fetchall()]


async def close(connection: AsyncConnection, ids: Sequence[UUID]) -> None:
    """Read these no more."""
    await connection.execute("select zmesh.close_streams(%s)", (list(ids),))


def _by_id(found: list[Untaken]) -> dict[UUID, int]:
    return {one.id: one.untaken for one in found}
