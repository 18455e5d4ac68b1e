"""Large payloads, which claims leave in the database: each is read by the run that needs it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from uuid import UUID

from psycopg_pool import AsyncConnectionPool

from sql import listeners
from sql.listeners import ClaimedInvocation


class Payloads:
    """Reads them one at a time: several that arrive at once would block the event loop for the time of all together."""

    def __init__(self, pool: AsyncConnectionPool) -> None:
        self._pool = pool
        self._turn = asyncio.Lock()

    async def completed(self, lease: UUID, invocation: ClaimedInvocation) -> ClaimedInvocation:
        """The invocation with its payload. Raises LeaseLost if another listener has it by now, and psycopg.Error."""
        if invocation.payload is not None:
            return invocation
        async with self._turn, self._pool.connection() as connection:
            payload, request = await listeners.payload_of(connection, lease, invocation.id, invocation.attempt)
        return replace(invocation, payload=payload, request=request)
