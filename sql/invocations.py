"""Invocations from the caller's side: inserted many at once, and awaited. What becomes of them: history.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from sql.rows import fetch_all, fetch_one


@dataclass(frozen=True, slots=True)
class Options:
    """What an invocation may ask for itself; None is what the function or the queue does by itself."""

    version: int | None = None
    alias: str | None = None
    priority: int | None = None
    run_at: datetime | None = None
    expires_at: datetime | None = None
    max_attempts: int | None = None
    concurrency_key: str | None = None
    callback_url: str | None = None


NO_OPTIONS = Options()


@dataclass(frozen=True, slots=True)
class AssumedAccess:
    """What a caller was let through for by memory: that its API key is good for the function, and that the function's
    row has this stamp. The insert leaves out what is not so any more."""

    key_hash: bytes
    function_stamp: str


@dataclass(frozen=True, slots=True)
class NewInvocation:
    """An invocation to insert. `payload` and `request` are JSON texts; the id is the caller's own.

    `idempotency_scope`: the credential whose key `idempotency_key` is.
    """

    id: UUID
    project_id: UUID
    function: str
    payload: str
    source: str
    options: Options = NO_OPTIONS
    request: str | None = None
    reply_channel: str | None = None
    idempotency_key: str | None = None
    idempotency_scope: str | None = None
    traceparent: str | None = None
    assumed: AssumedAccess | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """A webhook's message, named by its sender so that a second delivery is invoked no second time."""

    webhook_id: UUID
    message_id: str | None
    invocation: NewInvocation


@dataclass(frozen=True, slots=True)
class InvocationState:
    """Where an invocation stands and how it ended; `result`, `error` and `response` are JSON texts.

    `queue_ms` is how long it waited for a listener, `start_ms` what the platform took beside `duration_ms`.
    """

    id: UUID
    status: str
    version: int | None
    duration_ms: int | None
    queue_ms: float | None
    start_ms: float | None
    result: str | None
    error: str | None
    response: str | None

    @property
    def final(self) -> bool:
        return self.status not in ("queued", "running")


_STATE = """id, status, version, duration_ms, zmesh.queue_ms(created_at, run_at, started_at)::float8 as queue_ms,
             zmesh.start_ms(started_at, finished_at, duration_ms)::float8 as start_ms,
             result::text, error::text, response::text"""
_WANTED = """
    unnest(%b::uuid[], %b::uuid[], %b::text[], %b::text[], %b::text[], %b::text[], %b::text[], %b::text[], %b::text[],
           %b::text[], %b::integer[], %b::text[], %b::smallint[], %b::timestamptz[], %b::timestamptz[], %b::integer[],
           %b::text[], %b::text[], %b::bytea[], %b::text[]{extra}) with ordinality
        as w (id, project_id, function, payload, request, source, reply_channel, idempotency_key, idempotency_scope,
              traceparent, version, alias, priority, run_at, expires_at, max_attempts,
              concurrency_key, callback_url, key_hash, function_stamp{names}, n)
"""
_INSERT = """
    insert into zmesh.invocations (id, project_id, function, payload, request, source, reply_channel, idempotency_key,
                                   idempotency_scope, traceparent, version, alias, priority, run_at, expires_at,
                                   max_attempts, concurrency_key, callback_url)
    select w.id, w.project_id, w.function, w.payload::jsonb, w.request::json, w.source, w.reply_channel,
           w.idempotency_key, w.idempotency_scope, w.traceparent, w.version, w.alias, coalesce(w.priority, 0),
           w.run_at, w.expires_at, coalesce(w.max_attempts, f.max_attempts), w.concurrency_key, w.callback_url
"""
# What cannot be inserted (no such function, a key that is taken) is left out, so that it fails nobody else.
_ENABLED = "join zmesh.functions f on f.project_id = w.project_id and f.slug = w.function and f.enabled"
# Every update of a row changes its xmin: the caller was let through by the settings that the function has.
_STILL_ADMITTED = """
    w.key_hash is null or f.xmin = w.function_stamp::xid and exists (
        select from zmesh.api_keys k
         where k.hash = w.key_hash and k.project_id = w.project_id and k.revoked_at is null
           and (k.expires_at is null or k.expires_at > zmesh.now())
           and (k.all_functions or exists (select from zmesh.api_key_functions a
                                            where a.key_id = k.id and a.function_id = f.id)))
"""
INSERT = f"""
    {_INSERT} from {_WANTED.format(extra="", names="")} {_ENABLED}
     where {_STILL_ADMITTED}
     order by w.n
        on conflict do nothing
    returning id
"""
INSERT_DELIVERIES = f"""
    with w as materialized (
        select * from {_WANTED.format(extra=", %b::uuid[], %b::text[]", names=", webhook_id, message_id")}
    ), accepted as (
        insert into zmesh.webhook_deliveries (webhook_id, message_id, invocation_id, received_at)
        select w.webhook_id, w.message_id, w.id, zmesh.now() from w {_ENABLED}
         where w.message_id is not null
         order by w.n
            on conflict do nothing
        returning invocation_id
    )
    {_INSERT} from w {_ENABLED}
     where w.message_id is null or exists (select from accepted a where a.invocation_id = w.id)
     order by w.n
        on conflict do nothing
    returning id
"""


def _columns(invocations: Sequence[NewInvocation]) -> tuple[list[Any], ...]:
    names = (
        "id",
        "project_id",
        "function",
        "payload",
        "request",
        "source",
        "reply_channel",
        "idempotency_key",
        "idempotency_scope",
        "traceparent",
    )
    return (
        *([getattr(i, name) for i in invocations] for name in names),
        *([getattr(i.options, field.name) for i in invocations] for field in fields(Options)),
        [i.assumed and i.assumed.key_hash for i in invocations],
        [i.assumed and i.assumed.function_stamp for i in invocations],
    )


def _by_key(invocation: NewInvocation) -> tuple[UUID, str, str, str]:
    scope, key = invocation.idempotency_scope or "", invocation.idempotency_key or ""
    return invocation.project_id, invocation.function, scope, key


async def insert(connection: AsyncConnection, invocations: Sequence[NewInvocation]) -> set[UUID]:
    """Insert in one statement; returns the ids that are new. The others have no enabled function, a taken
    idempotency key, an assumption that is not true any more, or were inserted before."""
    # One order for everybody: two statements with the same idempotency keys must not wait for each other.
    ordered = sorted(invocations, key=_by_key)
    cursor = await connection.execute(INSERT.encode(), _columns(ordered))
    return {row[0] for row in await cursor.fetchall()}


async def insert_deliveries(connection: AsyncConnection, deliveries: Sequence[Delivery]) -> set[UUID]:
    """The same for webhooks' messages; those of a message id that is known are left out."""
    ordered = sorted(deliveries, key=lambda d: (d.webhook_id, d.message_id or ""))
    columns = (
        *_columns([d.invocation for d in ordered]),
        [d.webhook_id for d in ordered],
        [d.message_id for d in ordered],
    )
    cursor = await connection.execute(INSERT_DELIVERIES.encode(), columns)
    return {row[0] for row in await cursor.fetchall()}


async def delivered_before(connection: AsyncConnection, webhook_id: UUID, message_id: str) -> UUID | None:
    """The invocation of a message that came before."""
    cursor = await connection.execute(
        "select invocation_id from zmesh.webhook_deliveries where webhook_id = %s and message_id = %s",
        (webhook_id, message_id),
    )
    row = await cursor.fetchone()
    return None if row is None else row[0]


@dataclass(frozen=True, slots=True)
class IdempotentInvocation:
    """The invocation that an idempotency key stands for, and whether it was asked for in the same way."""

    id: UUID
    same: bool


async def known_by_key(connection: AsyncConnection, invocation: NewInvocation) -> IdempotentInvocation | None:
    """The invocation that has this one's function and idempotency key, sent with the same credential."""
    return await fetch_one(
        connection,
        IdempotentInvocation,
        """
        select i.id, i.payload = %(payload)s::jsonb
               and (i.request ->> 'method', i.request ->> 'path', (i.request -> 'query')::text)
                   is not distinct from (r.value ->> 'method', r.value ->> 'path', (r.value -> 'query')::text)
               -- A body that is no JSON has no payload; then it is the body that has to be the same.
               and (i.payload <> 'null' or i.request ->> 'body_base64' is not distinct from r.value ->> 'body_base64')
               as same
          from zmesh.functions f
          join zmesh.idempotency_keys k on k.function_id = f.id
          join zmesh.invocations i on i.id = k.invocation_id
          cross join (select %(request)s::json as value) r
         where f.project_id = %(project_id)s and f.slug = %(function)s and k.scope = %(scope)s and k.key = %(key)s
        """,
        {
            "payload": invocation.payload,
            "request": invocation.request,
            "project_id": invocation.project_id,
            "function": invocation.function,
            "scope": invocation.idempotency_scope or "",
            "key": invocation.idempotency_key,
        },
    )


async def await_end(connection: AsyncConnection, id: UUID, reply_channel: str) -> None:
    """Be told of an invocation's end as its first caller is; it may have ended already."""
    await connection.execute("select zmesh.await_end(%s, %s)", (id, reply_channel))


async def states(connection: AsyncConnection, ids: Sequence[UUID]) -> list[InvocationState]:
    """Where these invocations stand."""
    return await fetch_all(
        connection, InvocationState, f"select {_STATE} from zmesh.invocations where id = any (%s)", (list(ids),)
    )


async def ended(connection: AsyncConnection, ids: Sequence[UUID]) -> list[InvocationState]:
    """Those of these invocations that have ended, and how."""
    return await fetch_all(
        connection,
        InvocationState,
        f"select {_STATE} from zmesh.invocations where id = any (%s) and finished_at is not null",
        (list(ids),),
    )
