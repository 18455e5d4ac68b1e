"""Registries of projects: where their builds find packages. Tokens are set by owners and opened by listeners only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg import AsyncConnection

from sql.rows import fetch_all, fetch_one, fetch_value

_COLUMNS = "id, runtime, packages, url, has_token, created_at, updated_at"


@dataclass(frozen=True, slots=True)
class Registry:
    """All that anybody is told of a registry. `packages` empty: all that no other registry of the project has."""

    id: UUID
    runtime: str
    packages: str
    url: str
    has_token: bool
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class SealedRegistry:
    """A registry with its token, for the build that needs it."""

    project_id: UUID
    runtime: str
    packages: str
    url: str
    sealed_token: bytes | None

    @property
    def purpose(self) -> str:
        return token_purpose(self.project_id, self.runtime, self.packages, self.url)


def token_purpose(project_id: UUID, runtime: str, packages: str, url: str) -> str:
    """What a token is sealed for: it is sent to this URL for these packages only."""
    return f"registry {project_id} {runtime} {packages} {url}"


async def list_registries(connection: AsyncConnection, project_id: UUID, after: str, limit: int) -> list[Registry]:
    """Those of a project, by runtime and packages, after this place."""
    return await fetch_all(
        connection,
        Registry,
        f"""
        select {_COLUMNS} from zmesh.registries
         where project_id = %s and runtime || ' ' || packages > %s collate "C"
         order by (runtime || ' ' || packages) collate "C" limit %s
        """,
        (project_id, after, limit),
    )


async def find_registry(connection: AsyncConnection, project_id: UUID, id: UUID) -> Registry | None:
    """One registry of a project."""
    query = f"select {_COLUMNS} from zmesh.registries where project_id = %s and id = %s"
    return await fetch_one(connection, Registry, query, (project_id, id))


async def set_registry(
    connection: AsyncConnection, project_id: UUID, runtime: str, packages: str, url: str, sealed_token: bytes | None
) -> Registry:
    """Set the registry of these packages, in place of the one before."""
    values = (project_id, runtime, packages, url, sealed_token)
    id = await fetch_value(connection, "select zmesh.set_registry(%s, %s, %s, %s, %s)", values)
    registry = await find_registry(connection, project_id, id)
    assert registry is not None
    return registry


async def delete_registry(connection: AsyncConnection, project_id: UUID, id: UUID) -> bool:
    """Delete a registry; False where there is none."""
    return bool(await fetch_value(connection, "select zmesh.delete_registry(%s, %s)", (project_id, id)))


async def allow_scripts(connection: AsyncConnection, project_id: UUID, packages: Sequence[str]) -> None:
    """Let these npm packages of a project run their install scripts in builds, and no others."""
    await connection.execute("select zmesh.allow_scripts(%s, %s)", (project_id, list(packages)))


async def build_rules(connection: AsyncConnection, project_id: UUID, runtime: str) -> str:
    """What else than a manifest decides what a build installs; nothing where the project has no settings."""
    return str(await fetch_value(connection, "select zmesh.build_rules(%s, %s)", (project_id, runtime)))


async def allowed_scripts(connection: AsyncConnection, project_id: UUID) -> list[str]:
    """The npm packages of a project that may run their install scripts."""
    query = "select coalesce((select allow_scripts from zmesh.projects where id = %s), '{}')"
    return list(await fetch_value(connection, query, (project_id,)))


async def registries_of_build(connection: AsyncConnection, listener: UUID, build: UUID) -> list[SealedRegistry]:
    """The registries of the project of a build that this listener runs."""
    return await fetch_all(
        connection, SealedRegistry, "select * from zmesh.registries_of_build(%s, %s)", (listener, build)
    )
