"""Figures of functions and projects: read from their summaries, never from history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from sql.rows import fetch_all

METRICS = ("duration_ms", "queue_ms", "start_ms", "peak_memory_mb")


@dataclass(frozen=True, slots=True)
class Range:
    """A part of time, in steps of so many seconds from the epoch on; `hourly`: read what is kept by the hour."""

    since: datetime
    until: datetime
    step: int
    hourly: bool

    @property
    def values(self) -> dict[str, Any]:
        return {"since": self.since, "until": self.until, "step": self.step}

    @property
    def table(self) -> str:
        return "zmesh.statistics_by_hour" if self.hourly else "zmesh.statistics_by_minute"


@dataclass(frozen=True, slots=True)
class Counts:
    """Calls that ended in a step, or with `at` None those of a version."""

    at: datetime | None
    version: int | None
    success: int
    error: int
    timeout: int
    cancelled: int


@dataclass(frozen=True, slots=True)
class Histogram:
    """How many values of a metric each bucket has: those of a step, or with `at` None of a version."""

    at: datetime | None
    version: int | None
    metric: str
    buckets: list[int]
    counts: list[int]


@dataclass(frozen=True, slots=True)
class Deployed:
    """When a version went live, and who deployed it."""

    version: int
    at: datetime
    deployed_by: str | None


@dataclass(frozen=True, slots=True)
class Spent:
    """What the calls of a step took together."""

    at: datetime
    calls: int
    run_ms: int
    cpu_ms: int


@dataclass(frozen=True, slots=True)
class ErrorKind:
    """Errors of one fingerprint; type and message are those of the last one."""

    fingerprint: UUID
    type: str
    message: str
    calls: int
    first_at: datetime
    last_at: datetime
    versions: list[int]
    last_invocation_id: UUID


_STEP = "to_timestamp(floor(extract(epoch from s.starts_at) / %(step)s) * %(step)s)"
_CHOSEN = "s.function_id = %(id)s and s.starts_at >= %(since)s and s.starts_at < %(until)s"


async def counts(connection: AsyncConnection, id: UUID, range: Range) -> list[Counts]:
    """Calls of a function, or with its id of a project, by step and by version."""
    return await fetch_all(
        connection,
        Counts,
        f"""
        select {_STEP} as at, s.version, sum(s.success)::integer as success, sum(s.error)::integer as error,
               sum(s.timeout)::integer as timeout, sum(s.cancelled)::integer as cancelled
          from {range.table} s where {_CHOSEN}
         group by grouping sets ((1), (s.version)) order by 1, 2
        """,
        {"id": id, **range.values},
    )


async def histograms(connection: AsyncConnection, id: UUID, range: Range) -> list[Histogram]:
    """Their times and memory, by step and by version."""
    metrics = ", ".join(f"('{name}', s.{name})" for name in METRICS)
    return await fetch_all(
        connection,
        Histogram,
        f"""
        select at, version, metric, array_agg(bucket order by bucket) as buckets, array_agg(n order by bucket) as counts
          from (select {_STEP} as at, s.version, m.metric, b.bucket::integer as bucket, sum(b.n)::integer as n
                  from {range.table} s
                  cross join lateral (values {metrics}) m (metric, counts)
                  cross join lateral unnest(m.counts) with ordinality b (n, bucket)
                 where {_CHOSEN} and b.n > 0
                 group by grouping sets ((1, m.metric, b.bucket), (s.version, m.metric, b.bucket))) cells
         group by at, version, metric
        """,
        {"id": id, **range.values},
    )


async def deployments(connection: AsyncConnection, function_id: UUID, range: Range, limit: int) -> list[Deployed]:
    """The versions that went live in a range, latest first."""
    return await fetch_all(
        connection,
        Deployed,
        """
        select d.version, d.at,
               case when d.version = f.version then f.deployed_by else v.deployed_by end as deployed_by
          from zmesh.functions f
          cross join lateral (
                select b.version + 1 as version, b.created_at as at from zmesh.function_versions b
                 where b.function_id = f.id and b.version > 0
                union all
                select 1, f.created_at) d
          left join zmesh.function_versions v on v.function_id = f.id and v.version = d.version
         where f.id = %(id)s and at >= %(since)s and at < %(until)s
         order by d.version desc limit %(limit)s
        """,
        {"id": function_id, "limit": limit, **range.values},
    )


async def spent(connection: AsyncConnection, project_id: UUID, range: Range) -> list[Spent]:
    """What a project's calls took, by step; steps without calls are left out."""
    return await fetch_all(
        connection,
        Spent,
        f"""
        select {_STEP} as at, sum(s.success + s.error + s.timeout + s.cancelled)::integer as calls,
               sum(s.run_ms)::bigint as run_ms, sum(s.cpu_ms)::bigint as cpu_ms
          from {range.table} s where {_CHOSEN} group by 1 order by 1
        """,
        {"id": project_id, **range.values},
    )


async def error_kinds(connection: AsyncConnection, function_id: UUID, since: datetime, limit: int) -> list[ErrorKind]:
    """The kinds of errors of a function from the hour of this time on, the most frequent first."""
    return await fetch_all(
        connection,
        ErrorKind,
        """
        select k.fingerprint, (array_agg(k.type order by k.last_at desc))[1] as type,
               (array_agg(k.message order by k.last_at desc))[1] as message, sum(k.calls)::integer as calls,
               min(k.first_at) as first_at, max(k.last_at) as last_at,
               array_agg(distinct k.version order by k.version) as versions,
               (array_agg(k.last_invocation_id order by k.last_at desc))[1] as last_invocation_id
          from zmesh.errors_by_hour k
         where k.function_id = %s and k.starts_at >= date_trunc('hour', %s::timestamptz, 'UTC')
         group by k.fingerprint order by calls desc, k.fingerprint limit %s
        """,
        (function_id, since, limit),
    )


# Functions with the figures of their last hour

SORTS = {  # the expression to order by, and whether that begins with the largest
    "name": ("f.slug", False),
    "calls": ("coalesce(h.calls, 0)", True),
    "errors": ("coalesce(h.errors, 0)", True),
    "deployed": ("extract(epoch from d.deployed_at)::float8", True),
}
_SHOWN = {
    "all": "",
    "failing": "and h.errors > 0",
    "disabled": "and not f.enabled",
}
# The time is a value, not zmesh.now(): of that, the planner expects a third of the table, and scans it.
_HOUR = """
    with h as materialized (
        select s.function_id, sum(s.success + s.error + s.timeout + s.cancelled)::integer as calls,
               sum(s.error + s.timeout)::integer as errors
          from zmesh.statistics_by_minute s
         where s.project_id = %(project_id)s and s.function_id <> s.project_id
           and s.starts_at > %(hour_ago)s
         group by s.function_id)
"""


@dataclass(frozen=True, slots=True)
class FunctionsWanted:
    """Which functions, in which order; `search` is a part of name, slug or a tag."""

    project_id: UUID
    search: str | None
    show: str
    sort: str


@dataclass(frozen=True, slots=True)
class ListedFunction:
    """A function in a list; `key` is what the list is ordered by."""

    id: UUID
    slug: str
    name: str
    language: str
    enabled: bool
    version: int
    description: str
    tags: list[str]
    updated_at: datetime
    deployed_at: datetime
    deployed_by: str | None
    key: str | float


@dataclass(frozen=True, slots=True)
class Minute:
    """Calls of a function that ended in a minute, `ago` minutes before the current one."""

    function_id: UUID
    ago: int
    calls: int
    errors: int


@dataclass(frozen=True, slots=True)
class Callers:
    """What starts a function, by the names of sources."""

    function_id: UUID
    sources: list[str]


@dataclass(frozen=True, slots=True)
class Durations:
    """How many runs of a function lasted as long as each bucket says."""

    function_id: UUID
    buckets: list[int]
    counts: list[int]


async def list_functions(
    connection: AsyncConnection, wanted: FunctionsWanted, after: tuple[str | float, UUID] | None, limit: int
) -> list[ListedFunction]:
    """The functions after this place of the list. Summaries are read only where order or choice depend on them."""
    key, descending = SORTS[wanted.sort]
    by_hour = wanted.sort in ("calls", "errors") or wanted.show == "failing"
    compared, direction = ("<", "desc") if descending else (">", "asc")
    kind = "text" if wanted.sort == "name" else "float8"
    beyond = f"where (key, id) {compared} (%(key)s::{kind}, %(id)s::uuid)" if after is not None else ""
    search = """and (f.slug like %(search)s or lower(f.name) like %(search)s
                     or exists (select from unnest(f.tags) t where lower(t) like %(search)s))"""
    query = f"""
        {_HOUR if by_hour else ""}
        select * from (
            select f.id, f.slug, f.name, f.language, f.enabled, f.version, f.description, f.tags, f.updated_at,
                   d.deployed_at, f.deployed_by, ({key})::{kind} as key
              from zmesh.functions f {"left join h on h.function_id = f.id" if by_hour else ""}
              cross join lateral (
                  select coalesce((select v.created_at from zmesh.function_versions v
                                    where v.function_id = f.id and v.version = f.version - 1), f.created_at)
                  as deployed_at) d
             where f.project_id = %(project_id)s and f.draft_of is null
                   {_SHOWN[wanted.show]} {"" if wanted.search is None else search}
        ) listed {beyond} order by key {direction}, id {direction} limit %(limit)s
    """
    values = {
        "project_id": wanted.project_id,
        "hour_ago": datetime.now(UTC) - timedelta(hours=1),
        "search": None if wanted.search is None else f"%{_escaped(wanted.search.lower())}%",
        "key": after and after[0],
        "id": after and after[1],
        "limit": limit,
    }
    return await fetch_all(connection, ListedFunction, query, values)


async def last_hour(connection: AsyncConnection, function_ids: Sequence[UUID]) -> list[Minute]:
    """Calls of these functions by minute, of the last sixty."""
    return await fetch_all(
        connection,
        Minute,
        """
        select s.function_id,
               (extract(epoch from date_trunc('minute', zmesh.now(), 'UTC') - s.starts_at) / 60)::integer as ago,
               sum(s.success + s.error + s.timeout + s.cancelled)::integer as calls,
               sum(s.error + s.timeout)::integer as errors
          from zmesh.statistics_by_minute s
         where s.function_id = any (%s) and s.starts_at > zmesh.now() - interval '1 hour'
         group by 1, 2
        """,
        (list(function_ids),),
    )


async def last_hour_durations(connection: AsyncConnection, function_ids: Sequence[UUID]) -> list[Durations]:
    """Of runs of these functions that ended within the hour."""
    return await fetch_all(
        connection,
        Durations,
        """
        select function_id, array_agg(bucket order by bucket) as buckets, array_agg(n order by bucket) as counts
          from (select s.function_id, b.bucket::integer as bucket, sum(b.n)::integer as n
                  from zmesh.statistics_by_minute s
                  cross join lateral unnest(s.duration_ms) with ordinality b (n, bucket)
                 where s.function_id = any (%s) and s.starts_at > zmesh.now() - interval '1 hour' and b.n > 0
                 group by 1, 2) cells
         group by function_id
        """,
        (list(function_ids),),
    )


async def callers(connection: AsyncConnection, function_ids: Sequence[UUID], latest: int) -> list[Callers]:
    """Schedules and webhooks that invoke these functions, and what started so many of the latest invocations that ended
    within a day."""
    return await fetch_all(
        connection,
        Callers,
        """
        select f.id as function_id, array(
                   select 'schedule'
                    where exists (select from zmesh.schedules s where s.function_id = f.id and s.enabled)
                   union
                   select 'webhook'
                    where exists (select from zmesh.webhooks w where w.function_id = f.id and w.enabled)
                   union
                   select source from (select h.source from zmesh.history h
                                        where h.function_id = f.id
                                          and h.id >= zmesh.id_at(zmesh.now() - interval '1 day')
                                        order by h.id desc limit %s) ended
                   order by 1) as sources
          from unnest(%s::uuid[]) f (id)
        """,
        (latest, list(function_ids)),
    )


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
