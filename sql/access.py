"""Who may call: people with a role in a project, and API keys."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg import AsyncConnection

from sql.rows import fetch_all, fetch_one


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
class KeyedFunction:
    """An API key and the function it asks for. Fields of what does not exist are None."""

    key_id: UUID | None
    project_id: UUID | None
    revoked: bool | None
    last_used_at: datetime | None
    function_id: UUID | None
    timeout_ms: int | None
    enabled: bool | None


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
    return await fetch_all(
        connection,
        KeyedFunction,
        """
        select k.id as key_id, k.project_id, k.revoked_at is not null as revoked, k.last_used_at,
               f.id as function_id, f.timeout_ms, f.enabled
          from unnest(%s::bytea[], %s::text[]) with ordinality as w (hash, slug, n)
          left join zmesh.api_keys k on k.hash = w.hash
          left join zmesh.functions f on f.project_id = k.project_id and f.slug = w.slug
         order by w.n
        """,
        ([hash for hash, _ in wanted], [slug for _, slug in wanted]),
    )


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
