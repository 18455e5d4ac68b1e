"""What is happening now: the queue, listeners, and what changed within the last moments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg import AsyncConnection

from sql.rows import fetch_all, fetch_one


@dataclass(frozen=True, slots=True)
class QueuedFunction:
    """What a function has in the queue. `more`: there is more than was counted."""

    function_id: UUID
    function: str
    max_concurrency: int | None
    queued: int
    delayed: int
    running: int
    more: bool
    oldest_at: datetime | None


@dataclass(frozen=True, slots=True)
class RunningInvocation:
    """An invocation that runs now."""

    id: UUID
    function_id: UUID
    function: str
    version: int | None
    attempt: int
    source: str
    started_at: datetime
    timeout_ms: int | None
    listener: str | None


@dataclass(frozen=True, slots=True)
class LiveListener:
    """A listener; `running` counts invocations of all projects."""

    id: UUID
    name: str
    started_at: datetime
    slots: int
    running: int
    isolation: str | None
    gaps: list[str]


@dataclass(frozen=True, slots=True)
class ProjectLoad:
    """A project's limits, and what is ready in its queue, counted up to `max_queued`."""

    max_running: int
    max_queued: int
    queued: int


@dataclass(frozen=True, slots=True)
class InvocationChange:
    """An invocation that was inserted, was started or ended within the last moments; `error` is a JSON text."""

    project_id: UUID
    id: UUID
    function_id: UUID
    function: str
    status: str
    source: str
    version: int | None
    attempt: int
    max_attempts: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    duration_ms: int | None
    queue_ms: float | None
    start_ms: float | None
    peak_memory_mb: int | None
    error: str | None


@dataclass(frozen=True, slots=True)
class FunctionChanges:
    """How many functions a project has, and which of them changed."""

    project_id: UUID
    count: int
    changed: list[UUID]
    revisions: list[int]


@dataclass(frozen=True, slots=True)
class FreshLine:
    """A line that was printed within the last moments."""

    project_id: UUID
    function_id: UUID
    function: str
    invocation_id: UUID
    attempt: int
    line: int
    at: datetime
    level: str
    message: str


@dataclass(frozen=True, slots=True)
class ProjectLimits:
    """What a project may have, and how much of it there is. None: no limit."""

    max_running: int
    max_queued: int
    requests_per_second: int | None
    max_schedules: int
    retention_days: int
    functions: int
    schedules: int
    webhooks: int
    keys: int
    members: int


async def limits(connection: AsyncConnection, project_id: UUID) -> ProjectLimits:
    """The limits of a project."""
    found = await fetch_one(
        connection,
        ProjectLimits,
        """
        select p.max_running, p.max_queued, p.requests_per_second, s.max_schedules, s.retention_days,
               (select count(*)::integer from zmesh.functions f
                 where f.project_id = p.id and f.draft_of is null) as functions,
               (select count(*)::integer from zmesh.schedules c where c.project_id = p.id) as schedules,
               (select count(*)::integer from zmesh.webhooks w where w.project_id = p.id) as webhooks,
               (select count(*)::integer from zmesh.api_keys k
                 where k.project_id = p.id and k.revoked_at is null) as keys,
               (select count(*)::integer from zmesh.memberships m where m.project_id = p.id) as members
          from zmesh.projects p, zmesh.settings s where p.id = %s
        """,
        (project_id,),
    )
    assert found is not None
    return found


async def queue_by_function(connection: AsyncConnection, project_id: UUID, limit: int) -> list[QueuedFunction]:
    """The functions of a project that have something in the queue, those with the most first."""
    query = "select * from zmesh.queue_by_function(%s) order by queued + running desc, function limit %s"
    return await fetch_all(connection, QueuedFunction, query, (project_id, limit))


async def running(connection: AsyncConnection, project_id: UUID, limit: int) -> list[RunningInvocation]:
    """The running invocations of a project, oldest first."""
    query = "select * from zmesh.running_invocations(%s) order by started_at limit %s"
    return await fetch_all(connection, RunningInvocation, query, (project_id, limit))


async def listeners(connection: AsyncConnection) -> list[LiveListener]:
    """Every live listener."""
    return await fetch_all(connection, LiveListener, "select * from zmesh.live_listeners() order by name, id", ())


async def load(connection: AsyncConnection, project_id: UUID) -> ProjectLoad:
    """The load of a project."""
    found = await fetch_one(
        connection,
        ProjectLoad,
        """
        select p.max_running, p.max_queued, l.queued
          from zmesh.projects p, zmesh.load_of(array[p.id]) l where p.id = %s
        """,
        (project_id,),
    )
    assert found is not None
    return found


async def changes(
    connection: AsyncConnection, project_ids: Sequence[UUID], seconds: float, limit: int
) -> list[InvocationChange]:
    """Invocations of these projects that changed within the last seconds, up to `limit` of each kind of change."""
    query = "select * from zmesh.recent_changes(%s::uuid[], make_interval(secs => %s), %s)"
    return await fetch_all(connection, InvocationChange, query, (list(project_ids), seconds, limit))


async def fresh_lines(
    connection: AsyncConnection, project_ids: Sequence[UUID], seconds: float, limit: int
) -> list[FreshLine]:
    """Lines that invocations of these projects printed within the last seconds."""
    query = "select * from zmesh.fresh_lines(%s::uuid[], make_interval(secs => %s), %s)"
    return await fetch_all(connection, FreshLine, query, (list(project_ids), seconds, limit))


async def function_changes(
    connection: AsyncConnection, project_ids: Sequence[UUID], seconds: float, limit: int
) -> list[FunctionChanges]:
    """Which functions of these projects changed within the last seconds."""
    return await fetch_all(
        connection,
        FunctionChanges,
        """
        select p.id as project_id,
               (select count(*)::integer from zmesh.functions f
                 where f.project_id = p.id and f.draft_of is null) as count,
               coalesce(c.changed, '{}') as changed, coalesce(c.revisions, '{}') as revisions
          from unnest(%s::uuid[]) p (id)
          cross join lateral (
              select array_agg(f.id) as changed, array_agg(f.revision) as revisions
                from (select f.id, f.revision from zmesh.functions f
                       where f.project_id = p.id and f.draft_of is null
                         and f.updated_at > zmesh.now() - make_interval(secs => %s)
                       order by f.updated_at desc limit %s) f) c
        """,
        (list(project_ids), seconds, limit),
    )
