"""Who may call: people with a role in a project, and API keys."""

from __future__ import annotations

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

    role: str | None
    session_ended: bool


@dataclass(frozen=True, slots=True)
class User:
    """What a login needs to know of a person."""

    id: UUID
    email: str
    password_hash: str
    knows_client: bool


@dataclass(frozen=True, slots=True)
class ProjectOfUser:
    """A project a person may open."""

    id: UUID
    slug: str
    name: str
    role: str


@dataclass(frozen=True, slots=True)
class PublicFunction:
    """A function as its public route needs to know it. `stamp` is another one after every change of its row."""

    id: UUID
    project_id: UUID
    slug: str
    timeout_ms: int
    enabled: bool
    auth: str
    methods: list[str]
    cors_origins: list[str]
    anonymous_options: list[str]
    key_options: list[str]
    public_errors: bool
    stamp: str


@dataclass(frozen=True, slots=True)
class KeyedFunction:
    """An API key and the function it asks for, if it is for that one. Fields of a key that does not exist are None.
    `functions` are those it is for, None for all."""

    key_id: UUID | None
    project_id: UUID | None
    revoked: bool | None
    expired: bool | None
    functions: list[UUID] | None
    last_used_at: datetime | None
    scope: str | None
    function: PublicFunction | None


_FUNCTION_NAMES = [field.name for field in fields(PublicFunction)]
_FUNCTION = ", ".join(
    f"{'f.xmin::text' if name == 'stamp' else f'f.{name}'} as function_{name}" for name in _FUNCTION_NAMES
)


def _function_in(row: Mapping[str, Any]) -> PublicFunction | None:
    if row["function_id"] is None:
        return None
    return PublicFunction(**{name: row[f"function_{name}"] for name in _FUNCTION_NAMES})


async def memberships(
    connection: AsyncConnection, wanted: Sequence[tuple[UUID, UUID, UUID | None]]
) -> list[Membership]:
    """The role of each (user, project, session or None), in this order."""
    return await fetch_all(
        connection,
        Membership,
        """
        select m.role, w.session_id is not null and s.id is null as session_ended
          from unnest(%s::uuid[], %s::uuid[], %s::uuid[]) with ordinality as w (user_id, project_id, session_id, n)
          left join zmesh.memberships m on m.user_id = w.user_id and m.project_id = w.project_id
          left join zmesh.sessions s
            on s.id = w.session_id and s.user_id = w.user_id and s.ended_at is null and s.expires_at > zmesh.now()
         order by w.n
        """,
        tuple([one[column] for one in wanted] for column in range(3)),
    )


def _keyed(wanted: str) -> str:
    return f"""
        select k.id as key_id, k.project_id, k.revoked_at is not null as revoked,
               k.expires_at <= zmesh.now() as expired, s.functions, k.last_used_at, k.scope, {_FUNCTION}
          from {wanted} as w (hash, slug, n)
          left join zmesh.api_keys k on k.hash = w.hash
          left join lateral (select coalesce(array_agg(a.function_id), '{{}}') as functions
                               from zmesh.api_key_functions a where a.key_id = k.id) s on not k.all_functions
          left join zmesh.functions f on f.project_id = k.project_id and f.slug = w.slug
                                     and (k.all_functions or f.id = any (s.functions))
         order by w.n
    """


# PostgreSQL keeps the plan for one row; the length of an array varies, and so it plans again.
_KEYED_ONE = _keyed("(select %s::bytea, %s::text, 1)")
_KEYED_MANY = _keyed("unnest(%s::bytea[], %s::text[]) with ordinality")


async def keyed_functions(connection: AsyncConnection, wanted: Sequence[tuple[bytes, str]]) -> list[KeyedFunction]:
    """The key of each (hash, slug) with the function of that slug in the key's project, in this order."""
    if len(wanted) == 1:
        rows = await fetch_dicts(connection, _KEYED_ONE, wanted[0])
    else:
        columns = [list(column) for column in zip(*wanted, strict=True)]
        rows = await fetch_dicts(connection, _KEYED_MANY, columns)
    names = ("key_id", "project_id", "revoked", "expired", "functions", "last_used_at", "scope")
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
              select g.xmin, g.* from zmesh.functions g where g.project_id = w.project_id and g.slug = w.name
              union all
              select g.xmin, g.* from zmesh.functions g where w.project_id is null and g.id = w.name::uuid) f on true
         order by w.n
        """,
        ([project_id for project_id, _ in wanted], [name for _, name in wanted]),
    )
    return [_function_in(row) for row in rows]


async def key_was_used(connection: AsyncConnection, key_id: UUID) -> None:
    """Note that a key works, at most once a minute."""
    await connection.execute("select zmesh.use_key(%s)", (key_id,))


async def find_user(connection: AsyncConnection, email: str, client: str) -> User | None:
    """The person with this address, however it is capitalised, and whether they logged in from this client of late."""
    return await fetch_one(
        connection,
        User,
        """
        select u.id, u.email, u.password_hash,
               exists (select from zmesh.sessions s where s.user_id = u.id and s.client = %s) as knows_client
          from zmesh.users u where lower(u.email) = lower(%s)
        """,
        (client, email),
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
