"""Deployments of project folders: what the last one left, and what a project has of the things it declares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from sql.rows import fetch_all, fetch_value


@dataclass(frozen=True, slots=True)
class AliasOfFunction:
    """An alias with the id of its function."""

    function_id: UUID
    name: str
    shares: dict[str, int]


@dataclass(frozen=True, slots=True)
class SecretOfFunction:
    """The name of a secret; `function_id` None: every function has it."""

    function_id: UUID | None
    name: str


@dataclass(frozen=True, slots=True)
class ScheduleState:
    """A schedule as a deployment compares it: with a digest of its payload, which may be large."""

    id: UUID
    name: str
    function: str
    cron: str
    timezone: str
    overlap: str
    missed: str
    enabled: bool
    payload: str


async def schedules(connection: AsyncConnection, project_id: UUID) -> list[ScheduleState]:
    """All schedules of a project."""
    return await fetch_all(
        connection,
        ScheduleState,
        """
        select s.id, s.name, f.slug as function, s.cron, s.timezone, s.overlap, s.missed, s.enabled,
               md5(s.payload::text) as payload
          from zmesh.schedules s join zmesh.functions f on f.id = s.function_id
         where s.project_id = %s order by s.name
        """,
        (project_id,),
    )


async def digests(connection: AsyncConnection, payloads: Sequence[str]) -> list[str]:
    """The digest of each payload, equal for equal JSON. Raises Invalid for what PostgreSQL cannot store."""
    query = "select md5(p::jsonb::text) from unnest(%s::text[]) with ordinality u (p, n) order by n"
    cursor = await connection.execute(query, (list(payloads),))
    return [digest for (digest,) in await cursor.fetchall()]


async def begin(connection: AsyncConnection, project_id: UUID) -> dict[str, str]:
    """Wait for other deployments of the project. Returns the hashes of what the latest one left, by kind and name."""
    state: dict[str, str] = await fetch_value(connection, "select zmesh.begin_deployment(%s)", (project_id,))
    return state


async def record(connection: AsyncConnection, project_id: UUID, state: Mapping[str, str]) -> None:
    """Store the hashes of what this deployment leaves."""
    await connection.execute("select zmesh.record_deployment(%s, %s)", (project_id, Jsonb(state)))


async def set_message(connection: AsyncConnection, function_id: UUID, version: int, message: str) -> None:
    """Keep what somebody says about a version."""
    await connection.execute("select zmesh.set_version_message(%s, %s, %s)", (function_id, version, message))


async def aliases(connection: AsyncConnection, function_ids: Sequence[UUID]) -> list[AliasOfFunction]:
    """The aliases of these functions."""
    return await fetch_all(
        connection,
        AliasOfFunction,
        """
        select function_id, name, jsonb_object_agg(version::text, weight) as shares
          from zmesh.function_aliases where function_id = any (%s) group by function_id, name order by function_id, name
        """,
        (list(function_ids),),
    )


async def secrets(connection: AsyncConnection, project_id: UUID) -> list[SecretOfFunction]:
    """The names of all secrets of a project and its functions."""
    return await fetch_all(
        connection,
        SecretOfFunction,
        "select function_id, name from zmesh.secrets where project_id = %s order by name, function_id",
        (project_id,),
    )


async def slug_of(connection: AsyncConnection, name: str) -> str:
    """The slug that a function of this name gets."""
    return str(await fetch_value(connection, "select zmesh.slug_of(%s)", (name,)))
