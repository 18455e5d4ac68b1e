"""Schedules, as people manage them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from sql.rows import fetch_all, fetch_one, fetch_value

COLUMNS = """s.id, s.project_id, s.function_id, f.slug as function, s.name, s.cron, s.timezone, s.payload::text,
             s.overlap, s.missed, s.enabled, case when s.enabled then s.next_due_at end as next_due_at, s.created_at,
             s.updated_at"""

SETTINGS = ("function_id", "name", "cron", "timezone", "payload", "overlap", "missed", "enabled")
CREATE = """
    select zmesh.create_schedule(%(project_id)s, %(function_id)s, %(name)s, %(cron)s, %(timezone)s, %(payload)s::jsonb,
                                 %(overlap)s, %(missed)s, %(enabled)s)
"""
CHANGE = """
    select zmesh.change_schedule(%(id)s, %(function_id)s, %(name)s, %(cron)s, %(timezone)s, %(payload)s::jsonb,
                                 %(overlap)s, %(missed)s, %(enabled)s)
"""


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


@dataclass(frozen=True, slots=True)
class ScheduleRun:
    """What became of a due time, or of all from `due_at` to `last_due_at`; `status` is that of its invocation."""

    due_at: datetime
    last_due_at: datetime | None
    outcome: str
    error: str | None
    invocation_id: UUID | None
    status: str | None
    created_at: datetime


async def preview(connection: AsyncConnection, cron: str, timezone: str, count: int) -> list[datetime]:
    """The next due times of a cron expression. Raises Invalid for one that is not understood."""
    cursor = await connection.execute("select zmesh.cron_preview(%s, %s, %s)", (cron, timezone, count))
    return [row[0] for row in await cursor.fetchall()]


async def insert_schedule(connection: AsyncConnection, project_id: UUID, values: Mapping[str, Any]) -> UUID:
    """Create a schedule and return its id. Raises the trigger's errors for what cannot fire."""
    return UUID(str(await fetch_value(connection, CREATE, {**values, "project_id": project_id})))


async def list_schedules(
    connection: AsyncConnection,
    project_id: UUID,
    name: str | None,
    after_name: str,
    limit: int,
    of_functions: list[UUID] | None = None,
) -> list[Schedule]:
    """The schedules after this name, in the order of their names; with `name`, the one that is called so; only those of
    some functions, where given."""
    return await fetch_all(
        connection,
        Schedule,
        f"""
        select {COLUMNS} from zmesh.schedules s join zmesh.functions f on f.id = s.function_id
         where s.project_id = %s and s.name > %s and s.name = coalesce(%s, s.name)
           and (%s::uuid[] is null or s.function_id = any (%s::uuid[]))
         order by s.name limit %s
        """,
        (project_id, after_name, name, of_functions, of_functions, limit),
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
    await connection.execute(CHANGE, {**dict.fromkeys(SETTINGS), **changes, "id": id})


async def delete_schedule(connection: AsyncConnection, project_id: UUID, id: UUID) -> bool:
    """Whether there was one."""
    return bool(await fetch_value(connection, "select zmesh.delete_schedule(%s, %s)", (project_id, id)))


async def run_schedule(connection: AsyncConnection, id: UUID) -> UUID:
    """Invoke what a schedule would, now; returns the invocation. Raises Conflict where the function is disabled."""
    cursor = await connection.execute("select zmesh.run_schedule(%s)", (id,))
    row = await cursor.fetchone()
    assert row is not None
    return UUID(str(row[0]))


async def list_runs(connection: AsyncConnection, id: UUID, before: datetime, limit: int) -> list[ScheduleRun]:
    """What became of the due times before this one, the latest first."""
    return await fetch_all(
        connection,
        ScheduleRun,
        """
        select r.due_at, r.last_due_at, r.outcome, r.error, r.invocation_id, i.status, r.created_at
          from zmesh.schedule_runs r left join zmesh.invocations i on i.id = r.invocation_id
         where r.schedule_id = %s and r.due_at < %s order by r.due_at desc limit %s
        """,
        (id, before, limit),
    )
