"""What metrics and readiness ask of the database: bounded, and read by the roles of the processes themselves."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from psycopg import AsyncConnection

from sql.migrate import FIRST_SCHEMA, scripts
from sql.rows import fetch_one

MOST_COUNTED = 100_000
SILENT_CLOCK_SECONDS = 150  # pg_cron ticks each minute


@dataclass(frozen=True, slots=True)
class QueueFigures:
    """What the whole platform has still to do; each count stops at MOST_COUNTED."""

    ready_awaited: int
    ready_background: int
    delayed: int
    running: int
    oldest_ready_seconds: float
    schedules_overdue_seconds: float
    callbacks_pending: int
    callbacks_overdue_seconds: float
    listeners: int
    slots: int


async def queue_figures(connection: AsyncConnection) -> QueueFigures:
    """Read them, in one statement."""
    found = await fetch_one(
        connection,
        QueueFigures,
        """
        select (select count(*)::integer from (select from zmesh.queue q
                 where q.status = 'queued' and q.due and q.waited limit %(most)s) q) as ready_awaited,
               (select count(*)::integer from (select from zmesh.queue q
                 where q.status = 'queued' and q.due and not q.waited limit %(most)s) q) as ready_background,
               (select count(*)::integer from (select from zmesh.queue q
                 where q.status = 'queued' and not q.due limit %(most)s) q) as delayed,
               (select count(*)::integer from (select from zmesh.queue q
                 where q.status = 'running' limit %(most)s) q) as running,
               coalesce((select greatest(extract(epoch from zmesh.now() - q.run_at), 0) from zmesh.queue q
                          where q.status = 'queued' and q.due order by q.run_at limit 1), 0)::float8
                   as oldest_ready_seconds,
               coalesce((select greatest(extract(epoch from zmesh.now() - s.next_due_at), 0) from zmesh.schedules s
                          where s.enabled order by s.next_due_at limit 1), 0)::float8 as schedules_overdue_seconds,
               (select count(*)::integer from (select from zmesh.callbacks c
                 where c.status = 'pending' limit %(most)s) c) as callbacks_pending,
               coalesce((select greatest(extract(epoch from zmesh.now() - c.next_attempt_at), 0) from zmesh.callbacks c
                          where c.status = 'pending' order by c.next_attempt_at limit 1), 0)::float8
                   as callbacks_overdue_seconds,
               l.listeners, l.slots
          from (select count(*)::integer as listeners, coalesce(sum(l.slots), 0)::integer as slots
                  from zmesh.listeners l where l.lease_expires_at > zmesh.now()) l
        """,
        {"most": MOST_COUNTED},
    )
    assert found is not None
    return found


async def reach(connection: AsyncConnection) -> None:
    """Succeeds where the database answers."""
    await connection.execute("select 1")


async def missing_scripts(connection: AsyncConnection) -> int:
    """How many scripts of this version the database has not had; what a newer version added does not matter."""
    cursor = await connection.execute(
        "select count(*)::integer from unnest(%s::text[]) script"
        " where script not in (select m.name from zmesh.migrations m)",
        (_names(),),
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


async def clock_is_silent(connection: AsyncConnection) -> bool:
    """Whether nothing fires schedules: pg_cron has not called lately, and no listener lives."""
    cursor = await connection.execute(
        "select (c.source <> 'pg_cron' or coalesce(c.cron_ticked_at < zmesh.now() - make_interval(secs => %s), true))"
        "       and not exists (select from zmesh.listeners l where l.lease_expires_at > zmesh.now())"
        "  from zmesh.clock c",
        (SILENT_CLOCK_SECONDS,),
    )
    row = await cursor.fetchone()
    return row is None or bool(row[0])


@cache
def _names() -> list[str]:
    return [FIRST_SCHEMA, *(script.name for folder in ("migrations", "routines") for script in scripts(folder))]
