"""A record of what webhooks received, for those who set one up. Written after the answer, many at once: it costs
senders no time, and what comes too fast or in the last moment of a process is left out."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import suppress
from uuid import UUID

from api.database import Database
from sql import webhooks
from sql.errors import DomainError
from sql.webhooks import NewRequest

LARGEST_BODY_KEPT = 64 * 1024
LARGEST_BATCH = 50
MOST_WAITING = 500
EACH_PER_SECOND = 20  # of a webhook: whoever knows its URL can send any number
SECONDS_TO_CLOSE = 2.0


class RequestLog:
    """Requests to webhooks, on their way to the database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: deque[NewRequest] = deque(maxlen=MOST_WAITING)
        self._worker: asyncio.Task[None] | None = None
        self._second = 0
        self._counts: dict[UUID, int] = {}

    def has_room(self, webhook_id: UUID) -> bool:
        """Whether one more request of this webhook is recorded in this second; it counts if so."""
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._counts = second, {}
        count = self._counts.get(webhook_id, 0)
        self._counts[webhook_id] = count + 1
        return count < EACH_PER_SECOND

    def record(self, request: NewRequest) -> None:
        """Record it soon."""
        self._waiting.append(request)
        if self._worker is None:
            self._worker = asyncio.create_task(self._write_all())

    async def write(self, request: NewRequest) -> None:
        """Record it now. Raises DomainError."""
        async with self._database.connection() as connection:
            await webhooks.record_requests(connection, [request])

    async def close(self) -> None:
        """Write what is waiting, if the database takes it in time."""
        if self._worker is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._worker, SECONDS_TO_CLOSE)

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(LARGEST_BATCH, len(self._waiting)))]
                with suppress(DomainError):
                    async with self._database.connection() as connection:
                        await webhooks.record_requests(connection, batch)
        finally:
            self._worker = None
