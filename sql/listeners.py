"""What a listener asks of the database: one function here for each routine that it calls."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from psycopg import AsyncConnection, AsyncCursor
from psycopg.rows import class_row, tuple_row

from sql.errors import LeaseLost, translated

QUEUE_CHANNEL = "zmesh_queue"
CANCEL_CHANNEL = "zmesh_cancel"


@dataclass(frozen=True, slots=True)
class ClaimedInvocation:
    """A claimed invocation with all it takes to run it. `payload` and `request` are JSON texts; of large ones, the
    payload is None, and payload_of() reads both.

    `network`: "none" where the function or its project has none. `lent`: the run that called it, on the same listener,
    waits and lends it its slot. `waited`: somebody waits for its end, a caller over HTTP or a run. `queue_ms`: how long
    it was ready before it was claimed. `build_id`: the build whose packages it needs. With an `entry_file`, the
    version has files, which files_of() reads. `style`: how the handler is called where its form does not tell. `init`:
    "once" where runs may be forked from a process that has executed the top-level code. `preload`:
    packages that are imported beforehand, where not those that were learned. `dry_run`: nothing that it does
    may have an effect.
    """

    id: UUID
    project_id: UUID
    function_id: UUID
    slug: str
    version: int
    language: str
    entry_point: str
    code: str
    timeout_ms: int
    memory_mb: int
    env_vars: dict[str, str]
    network: str
    payload: str | None
    request: str | None
    attempt: int
    max_attempts: int
    traceparent: str
    lent: bool
    has_secrets: bool
    build_id: UUID | None
    entry_file: str | None
    style: str | None
    init: str | None
    preload: list[str]
    source: str
    dry_run: bool
    waited: bool
    queue_ms: float


_COLUMNS = len(fields(ClaimedInvocation))
_CODE = [field.name for field in fields(ClaimedInvocation)].index("code")
LARGE_CODE = 64 * 1024


@dataclass(frozen=True, slots=True)
class ClaimRound:
    """What a claim found, and when to claim again.

    `waiting`: inserts notify this listener. `more`: something was left that may start once a run ends.
    `seconds_to_next`: when something delayed comes due, negative when it has; None: nothing is delayed.
    """

    invocations: list[ClaimedInvocation]
    waiting: bool | None
    more: bool
    seconds_to_next: float | None


_ANSWER = _COLUMNS + len(fields(ClaimRound)) - 1  # number of all columns; with any other number, nothing can be claimed


@dataclass(frozen=True, slots=True)
class AttemptOutcome:
    """How an attempt ended, ready for the database: `result` and `response` are JSON texts, times in ms.

    `logs` has the lines that are not written yet, each with its number.
    """

    id: UUID
    attempt: int
    status: str
    result: str | None
    response: Mapping[str, Any] | None
    error: Mapping[str, Any] | None
    logs: Sequence[Mapping[str, Any]]
    duration_ms: int
    cpu_ms: int
    peak_memory_mb: int


@dataclass(frozen=True, slots=True)
class NewLogLine:
    """A line that an attempt printed, with its number there."""

    id: UUID
    attempt: int
    line: int
    at: datetime
    level: str
    message: str


@dataclass(frozen=True, slots=True)
class ProjectDatabase:
    """Where the functions of a project connect to, the password still sealed."""

    role_name: str
    sealed_password: bytes


async def register_listener(connection: AsyncConnection, name: str, slots: int, lease_seconds: float) -> UUID:
    """Start a lease and return the listener's id."""
    row = await _one(
        connection,
        "select zmesh.register_listener(%s, %s, make_interval(secs => %s))",
        (name, slots, lease_seconds),
    )
    return UUID(str(row[0]))


async def report_sandbox(connection: AsyncConnection, listener: UUID, level: str, gaps: Sequence[str]) -> None:
    """Record how well this listener isolates runs."""
    await connection.execute("select zmesh.report_sandbox(%s, %s, %s)", (listener, level, list(gaps)))


async def renew_lease(connection: AsyncConnection, listener: UUID, lease_seconds: float) -> list[UUID]:
    """Prolong the lease; returns the invocations to cancel. Raises LeaseLost."""
    with translated():
        cursor = await connection.execute(
            "select zmesh.renew_lease(%s, make_interval(secs => %s))", (listener, lease_seconds)
        )
        return [row[0] for row in await cursor.fetchall()]


async def claim(connection: AsyncConnection, listener: UUID, slots: int) -> ClaimRound:
    """Claim up to `slots` invocations, and what this listener's runs wait for. Raises LeaseLost."""
    query = "select * from zmesh.claim_round(%s, %s, %s)"
    with translated():
        async with connection.cursor(row_factory=tuple_row) as cursor:
            await cursor.execute(query, (listener, slots, _ANSWER), prepare=True)
            *claimed, last = [row async for row in _in_turns(cursor)]
    return ClaimRound([ClaimedInvocation(*row[:_COLUMNS]) for row in claimed], *last[_COLUMNS:])


async def _in_turns(cursor: AsyncCursor[tuple[Any, ...]]) -> AsyncIterator[tuple[Any, ...]]:
    """Rows one by one, with turns for others in between: for each slot, code may be as large as a request."""
    while (row := await cursor.fetchone()) is not None:
        yield row
        if len(row[_CODE] or "") > LARGE_CODE:
            await asyncio.sleep(0)


async def payload_of(connection: AsyncConnection, listener: UUID, id: UUID, attempt: int) -> tuple[str, str | None]:
    """Payload and request of an attempt that this listener claimed. Raises LeaseLost if it no longer belongs to it."""
    query = "select * from zmesh.payload_of(%s, %s, %s::smallint)"
    payload, request = await _one(connection, query, (listener, id, attempt))
    if payload is None:
        raise LeaseLost("The attempt no longer belongs to this listener.")
    return payload, request


async def keep_changes(connection: AsyncConnection, listener: UUID, id: UUID, changes: str) -> None:
    """Store what a dry run, which this listener still runs, would have changed; a JSON text."""
    await connection.execute("select zmesh.keep_changes(%s, %s, %s::json)", (listener, id, changes))


_FINISH = """
select zmesh.finish(%s, array(
    select row(o.*)::zmesh.outcome
      from unnest(%s::uuid[], %s::smallint[], %b::text[], %b::text[]::json[], %b::text[]::json[],
                  %b::text[]::jsonb[], %b::text[]::json[], %s::integer[], %s::integer[], %s::integer[]) o))
"""


async def finish(connection: AsyncConnection, listener: UUID, outcomes: Sequence[AttemptOutcome]) -> set[UUID]:
    """Write outcomes of attempts in one statement; returns those that were still this listener's."""
    columns: tuple[list[Any], ...] = (
        [o.id for o in outcomes],
        [o.attempt for o in outcomes],
        [o.status for o in outcomes],
        [o.result for o in outcomes],
        [_json(o.response) for o in outcomes],
        [_json(o.error) for o in outcomes],
        [_json(o.logs) if o.logs else None for o in outcomes],
        [o.duration_ms for o in outcomes],
        [o.cpu_ms for o in outcomes],
        [o.peak_memory_mb for o in outcomes],
    )
    cursor = await connection.execute(_FINISH, (listener, *columns), prepare=True)
    return {row[0] for row in await cursor.fetchall()}


async def append_logs(connection: AsyncConnection, listener: UUID, lines: Sequence[NewLogLine]) -> None:
    """Write lines of attempts that this listener runs, in one statement; those of others are left out."""
    await connection.execute(
        "select zmesh.append_logs(%s, %s::uuid[], %s::smallint[], %s::integer[], %s::timestamptz[], %b::text[],"
        " %b::text[])",
        (listener, *([getattr(line, field.name) for line in lines] for field in fields(NewLogLine))),
    )


async def report_blocked_loop(connection: AsyncConnection, listener: UUID, ms: int) -> None:
    """Record the longest block of this listener's event loop."""
    await connection.execute("select zmesh.report_blocked_loop(%s, %s)", (listener, ms))


async def give_back(connection: AsyncConnection, listener: UUID, known: Sequence[UUID]) -> int:
    """Queue again what this listener claimed beside what it knows of; returns how many."""
    return int((await _one(connection, "select zmesh.give_back(%s, %s::uuid[])", (listener, list(known))))[0])


async def reap(connection: AsyncConnection) -> int:
    """Take the invocations of listeners whose lease ran out; returns how many."""
    return int((await _one(connection, "select zmesh.reap()"))[0])


async def end_expired(connection: AsyncConnection) -> int:
    """End the invocations that were not started before their `expires_at`; returns how many."""
    return int((await _one(connection, "select zmesh.end_expired()"))[0])


async def maintain(connection: AsyncConnection) -> bool:
    """Make and drop partitions, at most once a minute over all listeners; returns whether it was this call."""
    done = bool((await _one(connection, "select zmesh.maintain()"))[0])
    if done:
        await connection.execute("select zmesh.forget_ticks()")
    return done


async def fold_statistics(connection: AsyncConnection) -> int:
    """Add invocations that have ended to the statistics, unless another listener is at it; returns how many."""
    return int((await _one(connection, "select zmesh.fold_statistics()"))[0])


async def end_harmful_sessions(connection: AsyncConnection) -> list[str]:
    """End the database sessions of projects that hold up others; returns who did what."""
    ended = []
    # One at a time: the first makes room for the second.
    for query in ("select zmesh.end_sessions_exhausting_locks()", "select zmesh.end_harmful_sessions()"):
        cursor = await connection.execute(query.encode())
        ended += [str(row[0]) for row in await cursor.fetchall()]
    return ended


async def cancel_orphans(connection: AsyncConnection) -> int:
    """Cancel some queued invocations of deleted functions; returns how many."""
    return int((await _one(connection, "select zmesh.cancel_orphans()"))[0])


async def free_autovacuum(connection: AsyncConnection, patience_seconds: float) -> list[str]:
    """End sessions and workers that block autovacuum; returns a description of each."""
    cursor = await connection.execute(
        "select zmesh.end_slow_workers(make_interval(secs => %s)) union all select zmesh.end_vacuum_blockers()",
        (patience_seconds,),
    )
    return [str(row[0]) for row in await cursor.fetchall()]


async def tables_behind_on_vacuum(connection: AsyncConnection) -> list[str]:
    """The platform's tables that autovacuum has fallen behind with."""
    cursor = await connection.execute("select table_name from zmesh.tables_behind_on_vacuum()")
    return [str(row[0]) for row in await cursor.fetchall()]


async def leave(connection: AsyncConnection, listener: UUID) -> int:
    """End this listener's lease; returns how many of its invocations were still running."""
    return int((await _one(connection, "select zmesh.end_lease(%s)", (listener,)))[0])


async def listener_tick(connection: AsyncConnection) -> int:
    """Fire the schedules that are due, where pg_cron does not; returns how many."""
    return int((await _one(connection, "select zmesh.listener_tick()"))[0])


async def files_of(connection: AsyncConnection, function_id: UUID, version: int) -> bytes | None:
    """The files of a version beside its entry file, as JSON: paths with their content; None without the version."""
    query = "select convert_to(zmesh.files_of(%s, %s)::text, 'UTF8')"
    async with connection.cursor(binary=True) as cursor:
        await cursor.execute(query, (function_id, version))
        row = await cursor.fetchone()
    assert row is not None
    found: bytes | None = row[0]
    return found


async def project_database(connection: AsyncConnection, project_id: UUID) -> ProjectDatabase | None:
    """The role and sealed password of a project."""
    async with connection.cursor(row_factory=class_row(ProjectDatabase)) as cursor:
        await cursor.execute(
            "select p.role_name, d.sealed_password from zmesh.projects p"
            " join zmesh.project_databases d on d.project_id = p.id where p.id = %s",
            (project_id,),
        )
        return await cursor.fetchone()


async def _one(connection: AsyncConnection, query: str, values: Sequence[Any] = ()) -> tuple[Any, ...]:
    with translated():
        row = await (await connection.execute(query.encode(), values)).fetchone()
    assert row is not None
    return row


def _json(value: Any) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()
