"""Migrations of a project's own schema. Everything here runs on a connection of the project's role."""

from __future__ import annotations

from psycopg import AsyncConnection

from sql.rows import fetch_all
from support.project_migrations import Applied, Migration


async def lock(connection: AsyncConnection) -> None:
    """Let nobody else apply migrations until the transaction ends."""
    await connection.execute("select zmesh.lock_migrations()")


async def applied(connection: AsyncConnection) -> list[Applied]:
    """The migrations that were applied."""
    return await fetch_all(connection, Applied, "select name, checksum, applied_at from zmesh.applied_migrations()", ())


async def apply(connection: AsyncConnection, migration: Migration) -> None:
    """Run a migration and record it. Raises psycopg.Error."""
    await connection.execute("select zmesh.apply_migration(%s, %s)", (migration.name, migration.sql))
