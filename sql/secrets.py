"""Secrets: set and listed by people, who never get them back; opened by listeners only."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg import AsyncConnection

from sql.rows import fetch_all, fetch_one


@dataclass(frozen=True, slots=True)
class Secret:
    """All that anybody is told of a secret. `function_id` None: it is for every function of the project."""

    name: str
    function_id: UUID | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Sealed:
    """A secret that a run of `for_function` gets."""

    for_function: UUID
    project_id: UUID
    function_id: UUID | None
    name: str
    sealed: bytes

    @property
    def purpose(self) -> str:
        return purpose(self.project_id, self.function_id, self.name)


def purpose(project_id: UUID, function_id: UUID | None, name: str) -> str:
    """What a secret is sealed for: it opens at its place and under its name only."""
    return f"secret {project_id} {function_id or 'project'} {name}"


async def list_secrets(
    connection: AsyncConnection, project_id: UUID, function_id: UUID | None, after: str, limit: int
) -> list[Secret]:
    """Those of a function, or with None of the whole project, after this name."""
    return await fetch_all(
        connection,
        Secret,
        """
        select name, function_id, created_at, updated_at from zmesh.secrets
         where project_id = %s and function_id is not distinct from %s and name > %s collate "C"
         order by name collate "C" limit %s
        """,
        (project_id, function_id, after, limit),
    )


async def set_secret(
    connection: AsyncConnection, project_id: UUID, function_id: UUID | None, name: str, sealed: bytes
) -> Secret:
    """Set a secret to a sealed value, in place of the one before."""
    secret = await fetch_one(
        connection,
        Secret,
        "select name, function_id, created_at, updated_at from zmesh.set_secret(%s, %s, %s, %s)",
        (project_id, function_id, name, sealed),
    )
    assert secret is not None
    return secret


async def delete_secret(connection: AsyncConnection, project_id: UUID, function_id: UUID | None, name: str) -> bool:
    """Delete a secret; False where there is none."""
    cursor = await connection.execute("select zmesh.delete_secret(%s, %s, %s)", (project_id, function_id, name))
    return await cursor.fetchone() == (True,)


async def secrets_of(connection: AsyncConnection, functions: Set[tuple[UUID, UUID]]) -> list[Sealed]:
    """What runs of each (project, function) get."""
    if not functions:
        return []
    return await fetch_all(
        connection,
        Sealed,
        "select * from zmesh.secrets_of(%s::uuid[], %s::uuid[])",
        ([project for project, _ in functions], [function for _, function in functions]),
    )
