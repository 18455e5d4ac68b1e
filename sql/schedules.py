"""Schedules, as people manage them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from sql.rows import fetch_all, fetch_one

COLUMNS = """s.id, s.project_id, s.function_id, f.slug as function, s.name, s.cron, s.timezone, s.payload::text,
             s.overlap, s.missed, s.enabled, s.next_due_at, s.created_at, s.updated_at"""


@dataclass(frozen=True, slots=True)
class Schedule:
    """A cron expression that invokes a function; `payload` is a JSON text."""

    id: UUID
    project_id: UUID
    function_id: UUID
    function: str
    name: str
    cron: str
    timezone: str
    payload: str
    overlap: str
    missed: str
    enabled: bool
    next_due_at: datetime | None
    created_at: datetime
    updated_at: datetime


async def insert_schedule(connection: AsyncConnection, project_id: UUID, values: Mapping[str, Any]) -> UUID:
    """Create a schedule and return its id. Raises the trigger's errors for what cannot fire."""
    cursor = await connection.execute(
        """
        insert into zmesh.schedules (project_id, function_id, name, cron, timezone, payload, overlap, missed, enabled)
        values (%(project_id)s, %(function_id)s, %(name)s, %(cron)s, %(timezone)s, %(payload)s::jsonb, %(overlap)s,
                %(missed)s, %(enabled)s)
        returning id
        """,
        {**values, "project_id": project_id},
    )
    row = await cursor.fetchone()
    assert row is not None
    return UUID(str(row[0]))


async def list_schedules(connection: AsyncConnection, project_id: UUID, after_name: str, limit: int) -> list[Schedule]:
    """The schedules after this name, in the order of their names."""
    return await fetch_all(
        connection,
        Schedule,
        f"""
        select {COLUMNS} from zmesh.schedules s join zmesh.functions f on f.id = s.function_id
         where s.project_id = %s and s.name > %s order by s.name limit %s
        """,
        (project_id, after_name, limit),
    )


async def find_schedule(connection: AsyncConnection, project_id: UUID, id: UUID) -> Schedule | None:
    """One schedule of a project."""
    return await fetch_one(
        connection,
        Schedule,
        f"""
        select {COLUMNS} from zmesh.schedules s join zmesh.functions f on f.id = s.function_id
         where s.project_id = %s and s.id = %s
        """,
        (project_id, id),
    )


async def update_schedule(connection: AsyncConnection, id: UUID, changes: Mapping[str, Any]) -> None:
    """Change the named columns. Raises the trigger's errors for what cannot fire."""
    values = dict.fromkeys(
        ("function_id", "name", "cron", "timezone", "payload", "overlap", "missed", "enabled")
    ) | dict(changes)
    await connection.execute(
        """
        update zmesh.schedules
           set function_id = coalesce(%(function_id)s, function_id), name = coalesce(%(name)s, name),
               cron = coalesce(%(cron)s, cron), timezone = coalesce(%(timezone)s, timezone),
               payload = coalesce(%(payload)s::jsonb, payload), overlap = coalesce(%(overlap)s, overlap),
               missed = coalesce(%(missed)s, missed), enabled = coalesce(%(enabled)s, enabled)
         where id = %(id)s
        """,
        {**values, "id": id},
    )


async def delete_schedule(connection: AsyncConnection, project_id: UUID, id: UUID) -> bool:
    """Whether there was one."""
    cursor = await connection.execute("delete from zmesh.schedules where project_id = %s and id = %s", (project_id, id))
    return cursor.rowcount > 0
