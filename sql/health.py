"""What the health endpoint asks of the database."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import AsyncConnection

from sql.rows import fetch_one


@dataclass(frozen=True, slots=True)
class Health:
    """How many listeners live, how many invocations they may run at once, and for how long one was held at most."""

    listeners: int
    slots: int
    loop_held_ms: int


async def health(connection: AsyncConnection) -> Health:
    """Raises psycopg.Error where the database is not reachable or not migrated."""
    found = await fetch_one(
        connection,
        Health,
        "select count(*)::integer as listeners, coalesce(sum(slots), 0)::integer as slots,"
        "       coalesce(max(loop_held_ms), 0) as loop_held_ms"
        "  from zmesh.listeners where lease_expires_at > zmesh.now()",
        (),
    )
    assert found is not None
    return found
