"""Who may call: people with a role in a project, and API keys."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from sql.rows import fetch_all, fetch_dicts, fetch_one


@dataclass(frozen=True, slots=True)
class Membership:
    """A person's role (owner, developer or viewer) in a project; None where the person is not a member."""

    user_id: UUID
    project_id: UUID
    role: str | None


@dataclass(frozen=True, slots=True)
class User:
    """What a login needs to know of a person."""

    id: UUID
    email: str
    password_hash: str


@dataclass(frozen=True, slots=True)
class ProjectOfUser:
    """A project a person may open."""

    id: UUID
    slug: str
    name: str
    role: str


@dataclass(frozen=True, slots=True)
class PublicFunction:
    """A function as its public route needs to know it."""

    id: UUID
    project_id: UUID
    slug: str
    timeout_ms: int
    enabled: bool
    auth: str
    methods: list[str]
    cors_origins: list[str]


@dataclass(frozen=True, slots=True)
class KeyedFunction:
    """An API key and the function it asks for. Fields of a key that does not exist are None."""

    key_id: UUID | None
    project_id: UUID | None
    revoked: bool | None
    last_used_at: datetime | None
    function: PublicFunction | None


_FUNCTION_NAMES = [field.name for field in fields(PublicFunction)]
_FUNCTION = ", ".join(f"f.{name} as function_{name}" for name in _FUNCTION_NAMES)


def _function_in(row: Mapping[str, Any]) -> PublicFunction | None:
    if row["function_id"] is None:
        return None
    return PublicFunction(**{name: row[f"function_{name}"] for name in _FUNCTION_NAMES})


def key_hash(key: str) -> bytes:
    """What is stored of an API key."""
    return hashlib.sha256(key.encode()).digest()


async def memberships(connection: AsyncConnection, wanted: Sequence[tuple[UUID, UUID]]) -> list[Membership]:
    """The role of each (user, project), in this order."""
    return await fetch_all(
        connection,
        Membership,
        """
        select w.user_id, w.project_id, m.role
          from unnest(%s::uuid[], %s::uuid[]) with ordinality as w (user_id, project_id, n)
          left join zmesh.memberships m on m.user_id = w.user_id and m.project_id = w.project_id
         order by w.n
        """,
        ([user for user, _ in wanted], [project for _, project in wanted]),
    )


async def keyed_functions(connection: AsyncConnection, wanted: Sequence[tuple[bytes, str]]) -> list[KeyedFunction]:
    """The key of each (hash, slug) with the function of that slug in the key's project, in this order."""
    rows = await fetch_dicts(
        connection,
        f"""
        select k.id as key_id, k.project_id, k.revoked_at is not null as revoked, k.last_used_at, {_FUNCTION}
          from unnest(%s::bytea[], %s::text[]) with ordinality as w (hash, slug, n)
          left join zmesh.api_keys k on k.hash = w.hash
          left join zmesh.functions f on f.project_id = k.project_id and f.slug = w.slug
         order by w.n
        """,
        ([hash for hash, _ in wanted], [slug for _, slug in wanted]),
    )
    names = ("key_id", "project_id", "revoked", "last_used_at")
    return [KeyedFunction(**{name: row[name] for name in names}, function=_function_in(row)) for row in rows]


async def public_functions(
    connection: AsyncConnection, wanted: Sequence[tuple[UUID | None, str]]
) -> list[PublicFunction | None]:
    """The function of each (project, slug), or (None, id), in this order; None where there is none."""
    rows = await fetch_dicts(
        connection,
        f"""
        select {_FUNCTION}
          from unnest(%s::uuid[], %s::text[]) with ordinality as w (project_id, name, n)
          left join lateral (
              select * from zmesh.functions g where g.project_id = w.project_id and g.slug = w.name
              union all
              select * from zmesh.functions g where w.project_id is null and g.id = w.name::uuid) f on true
         order by w.n
        """,
        ([project_id for project_id, _ in wanted], [name for _, name in wanted]),
    )
    return [_function_in(row) for row in rows]


async def key_was_used(connection: AsyncConnection, key_id: UUID) -> None:
    """Note that a key works, at most once a minute."""
    await connection.execute(
        "update zmesh.api_keys set last_used_at = zmesh.now()"
        " where id = %s and (last_used_at is null or last_used_at < zmesh.now() - interval '1 minute')",
        (key_id,),
    )


async def find_user(connection: AsyncConnection, email: str) -> User | None:
    """The person with this address, however it is capitalised."""
    return await fetch_one(
        connection,
        User,
        "select id, email, password_hash from zmesh.users where lower(email) = lower(%s)",
        (email,),
    )


async def projects_of(connection: AsyncConnection, user_id: UUID) -> list[ProjectOfUser]:
    """The projects of a person, oldest first."""
    return await fetch_all(
        connection,
        ProjectOfUser,
        """
        select p.id, p.slug, p.name, m.role
          from zmesh.memberships m join zmesh.projects p on p.id = m.project_id
         where m.user_id = %s
         order by p.created_at, p.id
        """,
        (user_id,),
    )
