"""Callbacks: what a listener sends, and the secrets that it signs with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg import AsyncConnection

from sql.rows import fetch_all, fetch_one

CALLBACKS_CHANNEL = "zmesh_callbacks"


@dataclass(frozen=True, slots=True)
class Due:
    """A callback to try now. `body` is None where the invocation is not kept any more."""

    invocation_id: UUID
    project_id: UUID
    message_id: UUID
    attempt: int
    url: str
    body: str | None
    traceparent: str | None
    sealed_secret: bytes | None
    sealed_previous_secret: bytes | None


@dataclass(frozen=True, slots=True)
class Callback:
    """Where the delivery of an invocation's end stands."""

    url: str
    status: str
    attempts: int
    created_at: datetime
    next_attempt_at: datetime | None
    delivered_at: datetime | None
    last_status_code: int | None
    last_error: str | None


@dataclass(frozen=True, slots=True)
class SigningSecret:
    """A project's secret, without the secret."""

    created_at: datetime
    previous_secret_valid_until: datetime | None


def signing_purpose(project_id: UUID) -> str:
    """What the secret of a project's callbacks is sealed for."""
    return f"callbacks of {project_id}"


async def claim(connection: AsyncConnection, limit: int, busy: Sequence[UUID]) -> list[Due]:
    """Callbacks that are due, of other projects than these."""
    return await fetch_all(connection, Due, "select * from zmesh.claim_callbacks(%s, %s::uuid[])", (limit, list(busy)))


async def end(connection: AsyncConnection, due: Due, status_code: int | None, error: str | None, final: bool) -> None:
    """Write how a try ended; without an error it is delivered, with a `final` one it is given up."""
    await connection.execute(
        "select zmesh.end_callback(%s, %s, %s, %s, %s)", (due.invocation_id, due.attempt, status_code, error, final)
    )


async def seconds_to_next(connection: AsyncConnection) -> float | None:
    """How long until a callback is due, negative when one is; None: there is none."""
    row = await (await connection.execute("select zmesh.seconds_to_next_callback()")).fetchone()
    return None if row is None or row[0] is None else float(row[0])


async def keep_secret(connection: AsyncConnection, project_id: UUID, sealed: bytes) -> bytes:
    """The sealed secret of a project: this one, unless it has one."""
    row = await (await connection.execute("select zmesh.keep_signing_secret(%s, %s)", (project_id, sealed))).fetchone()
    assert row is not None
    return bytes(row[0])


async def rotate_secret(connection: AsyncConnection, project_id: UUID, sealed: bytes, grace_seconds: int) -> None:
    """Replace the secret of a project; the one before signs, too, for a while."""
    await connection.execute(
        "select zmesh.rotate_signing_secret(%s, %s, make_interval(secs => %s))", (project_id, sealed, grace_seconds)
    )


async def find_secret(connection: AsyncConnection, project_id: UUID) -> SigningSecret | None:
    """Since when a project has its secret."""
    return await fetch_one(
        connection,
        SigningSecret,
        """
        select created_at,
               case when previous_secret_valid_until > zmesh.now() then previous_secret_valid_until end
               as previous_secret_valid_until
          from zmesh.signing_secrets where project_id = %s
        """,
        (project_id,),
    )


async def find(connection: AsyncConnection, invocation_id: UUID) -> Callback | None:
    """The callback of an invocation that has ended."""
    return await fetch_one(
        connection,
        Callback,
        """
        select url, status, attempts, created_at, next_attempt_at, delivered_at, last_status_code, last_error
          from zmesh.callbacks where invocation_id = %s
        """,
        (invocation_id,),
    )
