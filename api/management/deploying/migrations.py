"""Migrations of a project's own schema, in the session of the project's role that belongs to a deployment."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
from psycopg import AsyncConnection

from api.http.problems import Problem
from sql import project_migrations
from support.project_migrations import Migration, MigrationsDiverged, pending

LONGEST_MESSAGE = 1000


async def apply_migrations(connection: AsyncConnection, files: Sequence[Migration]) -> list[str]:
    """Apply those that were not applied yet, in the transaction that is open; returns their names. Raises Problem."""
    await project_migrations.lock(connection)
    try:
        wanted = pending(files, await project_migrations.applied(connection))
    except MigrationsDiverged as error:
        raise Problem(409, error.code, f"{error.message} Nothing was deployed.", error.hint) from error
    for migration in wanted:
        if not migration.in_transaction:
            raise Problem(
                409,
                "migration_outside_transaction",
                f"{migration.name} has to run outside of a transaction. Nothing was deployed.",
                "Run `zmesh migrations apply` first.",
            )
        try:
            await project_migrations.apply(connection, migration)
        except psycopg.Error as error:
            raise _failed(migration, error) from error
    return [migration.name for migration in wanted]


def _failed(migration: Migration, error: psycopg.Error) -> Problem:
    diagnosis = error.diag
    line = ""
    if diagnosis.internal_position and diagnosis.internal_query == migration.sql:
        line = f", line {migration.sql.count(chr(10), 0, int(diagnosis.internal_position) - 1) + 1}"
    message = (diagnosis.message_primary or str(error)).strip()[:LONGEST_MESSAGE]
    return Problem(
        422,
        "migration_failed",
        f"{migration.name}{line}: {message} ({error.sqlstate}). Nothing was deployed.",
        (diagnosis.message_hint or "")[:LONGEST_MESSAGE],
    )
