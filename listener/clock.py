"""The clock of schedules where pg_cron is not: the database decides what is due, here it is asked every second.

The next due time of a schedule is computed in sql/routines/40_cron.sql.
"""

from __future__ import annotations

from psycopg_pool import AsyncConnectionPool

from sql import listeners

TICK_SECONDS = 1.0


async def tick(pool: AsyncConnectionPool) -> None:
    """Fire the schedules that are due, unless pg_cron does. Raises the errors of the database."""
    async with pool.connection() as connection:
        await listeners.listener_tick(connection)
