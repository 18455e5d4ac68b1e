"""What became of invocations: found, read, cancelled and tried again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from sql.rows import fetch_all, fetch_one, fetch_value

FIRST_ID = UUID(int=0)
LAST_ID = UUID(int=2**128 - 1)
DEAD = ("error", "timeout")
UNSUCCESSFUL = (*DEAD, "cancelled")


@dataclass(frozen=True, slots=True)
class Filter:
    """Which invocations of a project; None is any. Times are those in their ids, `error` is a part of its text."""

    project_id: UUID
    function_id: UUID | None = None
    statuses: Sequence[str] | None = None
    source: str | None = None
    version: int | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    error: str | None = None
    fingerprint: UUID | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """An invocation as lists show it; JSON columns as texts."""

    id: UUID
    function_id: UUID
    function: str
    status: str
    source: str
    version: int | None
    alias: str | None
    attempt: int
    max_attempts: int
    created_at: datetime
    run_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    duration_ms: int | None
    cpu_ms: int | None
    peak_memory_mb: int | None
    queue_ms: float | None
    start_ms: float | None
    error: str | None
    result: str | None
    result_truncated: bool = False


@dataclass(frozen=True, slots=True)
class Complete(Recorded):
    """An invocation with all that is known of it."""

    payload: str = ""
    response: str | None = None
    earlier_attempts: str | None = None
    expires_at: datetime | None = None
    priority: int = 0
    pinned: bool = False
    cancel_requested: bool = False
    idempotency_key: str | None = None
    concurrency_key: str | None = None
    schedule_id: UUID | None = None
    parent_id: UUID | None = None
    depth: int = 0
    traceparent: str = ""
    callback_url: str | None = None
    not_forked_because: str | None = None


@dataclass(frozen=True, slots=True)
class StoredLogLine:
    """A line that an attempt printed."""

    invocation_id: UUID
    attempt: int
    line: int
    at: datetime
    level: str
    message: str


_TIMES = """zmesh.queue_ms(created_at, run_at, started_at)::float8 as queue_ms,
            zmesh.start_ms(started_at, finished_at, duration_ms)::float8 as start_ms"""
_SHORT = f"""id, function_id, function, status, source, version, alias, attempt, max_attempts, created_at, run_at,
             started_at, finished_at, duration_ms, cpu_ms, peak_memory_mb, {_TIMES}, error::text"""
_COMPLETE = f"""{_SHORT}, result::text, payload::text, response::text, earlier_attempts::text, expires_at, priority,
                pinned, cancel_requested, idempotency_key, concurrency_key, schedule_id, parent_id, depth,
                zmesh.traceparent_of(id, traceparent) as traceparent, callback_url,
                zmesh.not_forked_because(function_id, coalesce(finished_at, zmesh.now())) as not_forked_because"""
LARGEST_RESULT_IN_HISTORY = 65536
LONGEST_MESSAGE_IN_HISTORY = 4000
_WITHOUT_LARGE_RESULT = """octet_length(result::text) > %(largest)s as result_truncated,
                           case when octet_length(result::text) <= %(largest)s then result::text end as result"""
_CONDITIONS = {
    "source": "source = %(source)s",
    "version": "version = %(version)s",
    "created_after": "id >= zmesh.id_at(%(created_after)s)",
    "created_before": "id < zmesh.id_at(%(created_before)s)",
    "error": "strpos(lower(concat_ws(' ', error ->> 'type', error ->> 'message')), lower(%(error)s)) > 0",
    "fingerprint": "zmesh.error_fingerprint(coalesce(error ->> 'type', status), coalesce(error ->> 'message', ''))"
    " = %(fingerprint)s",
}


def _selection(wanted: Filter, columns: str, *, newest_first: bool) -> str:
    """A query for the rows of a filter beyond %(beyond)s, in order: each status by its own index, then together."""
    owner = "project_id = %(project_id)s" if wanted.function_id is None else "function_id = %(function_id)s"
    beyond, order = ("id < %(beyond)s", "id desc") if newest_first else ("id > %(beyond)s", "id")
    given = [text for name, text in _CONDITIONS.items() if getattr(wanted, name) is not None]
    where = " and ".join([owner, beyond, *given])
    failed = wanted.error is not None or wanted.fingerprint is not None
    statuses = wanted.statuses or (UNSUCCESSFUL if failed else (None,))
    branches = [
        f"(select {columns} from zmesh.invocations where {where}{_of_status(status)} order by {order} limit %(limit)s)"
        for status in statuses
    ]
    together = f" order by {order} limit %(limit)s" if len(branches) > 1 else ""
    return " union all ".join(branches) + together


def _of_status(status: str | None) -> str:
    """The status is written into the query, so that the planner sees which partition and index it is about."""
    assert status in (None, "queued", "running", "success", *UNSUCCESSFUL)
    return "" if status is None else f" and status = '{status}'"


def _values(wanted: Filter, beyond: UUID, limit: int) -> dict[str, Any]:
    names = ("project_id", "function_id", *_CONDITIONS)
    return {**{name: getattr(wanted, name) for name in names}, "beyond": beyond, "limit": limit}


async def find_invocation(connection: AsyncConnection, project_id: UUID, id: UUID) -> Complete | None:
    """One invocation of a project."""
    return await fetch_one(
        connection,
        Complete,
        f"select {_COMPLETE} from zmesh.invocations where id = %s and project_id = %s",
        (id, project_id),
    )


async def list_invocations(connection: AsyncConnection, wanted: Filter, before: UUID, limit: int) -> list[Recorded]:
    """Invocations with an id below this one, newest first; without large results."""
    query = _selection(wanted, f"{_SHORT}, {_WITHOUT_LARGE_RESULT}", newest_first=True)
    return await fetch_all(
        connection, Recorded, query, {**_values(wanted, before, limit), "largest": LARGEST_RESULT_IN_HISTORY}
    )


async def cancel(connection: AsyncConnection, id: UUID) -> bool:
    """Cancel an invocation; False where it has ended already."""
    row = await (await connection.execute("select zmesh.cancel(array[%s::uuid])", (id,))).fetchone()
    return row is not None and row[0] > 0


async def retry(connection: AsyncConnection, project_id: UUID, ids: Sequence[UUID]) -> list[UUID]:
    """Give those of the project's invocations one attempt more that have not succeeded; returns which."""
    cursor = await connection.execute(
        "select zmesh.retry(array(select id from zmesh.history where id = any (%s) and project_id = %s))",
        (list(ids), project_id),
    )
    return [row[0] for row in await cursor.fetchall()]


async def ids_of(connection: AsyncConnection, wanted: Filter, after: UUID, limit: int) -> list[UUID]:
    """Ids of invocations after this one, oldest first."""
    query = _selection(wanted, "id", newest_first=False)
    cursor = await connection.execute(query.encode(), _values(wanted, after, limit))
    return [row[0] for row in await cursor.fetchall()]


async def last_lines(connection: AsyncConnection, ids: Sequence[UUID], limit: int) -> list[StoredLogLine]:
    """The last lines of each of these invocations, in the order they were printed; long ones cut."""
    return await fetch_all(
        connection,
        StoredLogLine,
        """
        select l.* from unnest(%s::uuid[]) i (id)
          cross join lateral (
              select invocation_id, attempt, line, at, level, left(message, %s) as message from zmesh.logs
               where invocation_id = i.id order by attempt desc, line desc limit %s) l
         order by l.invocation_id, l.attempt, l.line
        """,
        (list(ids), LONGEST_MESSAGE_IN_HISTORY, limit),
    )


async def lines_after(
    connection: AsyncConnection, invocation_id: UUID, attempt: int, line: int, limit: int
) -> list[StoredLogLine]:
    """The lines of an invocation after this one."""
    return await fetch_all(
        connection,
        StoredLogLine,
        """
        select invocation_id, attempt, line, at, level, message from zmesh.logs
         where invocation_id = %s and (attempt, line) > (%s, %s)
         order by attempt, line limit %s
        """,
        (invocation_id, attempt, line, limit),
    )


async def changes_of(connection: AsyncConnection, project_id: UUID, invocation_id: UUID) -> str | None:
    """What a dry run would have changed, as JSON; None where the invocation was none, or is too old."""
    found: str | None = await fetch_value(
        connection,
        """
        select max(changes::text) from zmesh.dry_runs
         where invocation_id = %s and project_id = %s
        """,
        (invocation_id, project_id),
    )
    return found


@dataclass(frozen=True, slots=True)
class Progress:
    """Where an invocation stands, and a line of it. The line is None where there is none after the one asked for."""

    status: str
    version: int | None
    duration_ms: int | None
    attempt: int | None
    line: int | None
    at: datetime | None
    level: str | None
    message: str | None

    @property
    def ended(self) -> bool:
        return self.status not in ("queued", "running")


@dataclass(frozen=True, slots=True)
class Place:
    """An invocation, and the line of its log after which to go on."""

    id: UUID
    attempt: int
    line: int


@dataclass(frozen=True, slots=True)
class _NumberedProgress(Progress):
    n: int


async def progress(connection: AsyncConnection, places: Sequence[Place], limit: int) -> list[list[Progress]]:
    """News for each place: the next lines, with the status of the same moment, so that an end is seen with all lines
    before it. Nothing where an invocation goes on without a new line; the status is `gone` where there is none."""
    found = await fetch_all(
        connection,
        _NumberedProgress,
        """
        select coalesce(i.status, 'gone') as status, i.version, i.duration_ms, l.attempt, l.line, l.at, l.level,
               l.message, w.n::integer - 1 as n
          from unnest(%s::uuid[], %s::integer[], %s::integer[]) with ordinality w (id, attempt, line, n)
          left join zmesh.invocations i on i.id = w.id
          left join lateral (
              select * from zmesh.logs l
               where l.invocation_id = w.id and (l.attempt, l.line) > (w.attempt, w.line)
               order by l.attempt, l.line limit %s) l on i.id is not null
         where l.line is not null or i.status is null or i.status not in ('queued', 'running')
         order by w.n, l.attempt, l.line
        """,
        ([one.id for one in places], [one.attempt for one in places], [one.line for one in places], limit),
    )
    news: list[list[Progress]] = [[] for _ in places]
    for one in found:
        news[one.n].append(one)
    return news
