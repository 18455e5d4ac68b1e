"""API keys, as people manage them. A key itself is in no database: its SHA-256 is, and a prefix to know it by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg import AsyncConnection

from sql.rows import fetch_all, fetch_one

COLUMNS = """k.id, k.name, k.prefix, k.created_at, k.last_used_at, k.expires_at, k.revoked_at, k.scope,
             (select u.email from zmesh.users u where u.id = k.created_by) as created_by,
             case when not k.all_functions then
                 array(select f.slug from zmesh.api_key_functions s join zmesh.functions f on f.id = s.function_id
                        where s.key_id = k.id order by f.slug) end as functions"""


@dataclass(frozen=True, slots=True)
class Key:
    """What is known of a key. `functions` are the slugs it is good for, None for all."""

    id: UUID
    name: str
    prefix: str
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None
    revoked_at: datetime | None
    created_by: str | None
    functions: list[str] | None
    scope: str


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key to create. `functions` are slugs or ids, None for all."""

    project_id: UUID
    name: str
    prefix: str
    hash: bytes
    expires_at: datetime | None
    functions: Sequence[str] | None
    created_by: UUID
    scope: str


async def list_keys(connection: AsyncConnection, project_id: UUID, before: UUID | None, limit: int) -> list[Key]:
    """Keys of a project, the newest first, revoked ones too."""
    return await fetch_all(
        connection,
        Key,
        f"""
        select {COLUMNS} from zmesh.api_keys k
         where k.project_id = %(project_id)s
           and (%(before)s::uuid is null or (k.created_at, k.id) <
                (select b.created_at, b.id from zmesh.api_keys b
                  where b.id = %(before)s and b.project_id = %(project_id)s))
         order by k.created_at desc, k.id desc limit %(limit)s
        """,
        {"project_id": project_id, "before": before, "limit": limit},
    )


async def find_key(connection: AsyncConnection, project_id: UUID, id: UUID) -> Key | None:
    """The key with this id."""
    query = f"select {COLUMNS} from zmesh.api_keys k where k.project_id = %s and k.id = %s"
    return await fetch_one(connection, Key, query, (project_id, id))


async def create_key(connection: AsyncConnection, new: NewKey) -> UUID:
    """Create a key; returns its id. Raises NotFound for a function that does not exist, Invalid for a past end."""
    cursor = await connection.execute(
        "select zmesh.create_key(%s, %s, %s, %s, %s, %s::text[], %s, %s)",
        (
            new.project_id,
            new.name,
            new.prefix,
            new.hash,
            new.expires_at,
            None if new.functions is None else list(new.functions),
            new.created_by,
            new.scope,
        ),
    )
    row = await cursor.fetchone()
    assert row is not None
    return UUID(str(row[0]))


async def revoke_key(connection: AsyncConnection, project_id: UUID, id: UUID) -> bool:
    """End a key; False where there is none."""
    cursor = await connection.execute("select zmesh.revoke_key(%s, %s)", (project_id, id))
    return await cursor.fetchone() == (True,)
