"""How much projects and keys may ask for, and how much of it is waiting already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from psycopg import AsyncConnection

from sql.rows import fetch_all


@dataclass(frozen=True, slots=True)
class Load:
    """Limits of a project, None where it has none, and what is ready in its queue, counted up to `max_queued`."""

    project_id: UUID
    requests_per_second: int | None
    max_queued: int
    queued: int


@dataclass(frozen=True, slots=True)
class KeyLimit:
    """How many requests a second an API key is good for; None for any number."""

    hash: bytes
    requests_per_second: int | None


async def loads(connection: AsyncConnection, project_ids: Sequence[UUID]) -> list[Load]:
    """The load of each of these projects that exists."""
    return await fetch_all(connection, Load, "select * from zmesh.load_of(%s)", (list(project_ids),))


async def key_limits(connection: AsyncConnection, hashes: Sequence[bytes]) -> list[KeyLimit]:
    """The limits of those of these keys that exist."""
    return await fetch_all(
        connection,
        KeyLimit,
        "select hash, requests_per_second from zmesh.api_keys where hash = any (%s)",
        (list(hashes),),
    )
