"""Fires schedules where pg_cron does not: asks the database once a second, which decides what is due.

The next due time of a schedule is computed in sql/routines/40_cron.sql.
"""

from __future__ import annotations

import time

from psycopg_pool import AsyncConnectionPool

from observing.events import SchedulesFired
from observing.stream import emit
from sql import listeners

TICK_SECONDS = 1.0


class Clock:
    """Fires due schedules, and knows when the database last answered."""

    def __init__(self, pool: AsyncConnectionPool) -> None:
        self._pool = pool
        self._ticked_at = time.monotonic()

    @property
    def silent_seconds(self) -> float:
        """How long ago the last successful tick was."""
        return time.monotonic() - self._ticked_at

    async def tick(self) -> None:
        """Fire the schedules that are due, unless pg_cron does. Raises database errors."""
        async with self._pool.connection() as connection:
            fired = await listeners.listener_tick(connection)
        self._ticked_at = time.monotonic()
        if fired:
            emit(SchedulesFired(fired))
