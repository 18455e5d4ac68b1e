"""Maintains the database, on whichever listener comes first: expired, lost and deleted rows, statistics, partitions."""

from __future__ import annotations

import asyncio

import psycopg
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from listener.lease import Lease
from listener.wakeups import Wakeups
from observing.events import (
    AutovacuumBehind,
    AutovacuumHindered,
    DatabaseFailed,
    DatabaseSessionEnded,
    InvocationsDropped,
    InvocationsRequeued,
)
from observing.stream import emit
from sql import listeners
from sql.connecting import KEEPALIVE_OPTIONS, with_required_auth
from support.loop_watch import LIMIT_MS, LoopWatch

WATCH_SECONDS = 1.0
ANALYZE_SECONDS = 60.0  # a sixth of it when autovacuum workers are scarce


class Upkeep:
    """One round every few seconds; most statements find nothing to do."""

    def __init__(self, pool: AsyncConnectionPool, lease: Lease, wakeups: Wakeups, loop_watch: LoopWatch) -> None:
        self._pool = pool
        self._lease = lease
        self._wakeups = wakeups
        self._loop_watch = loop_watch
        self._reported: tuple[object, int] = (None, 0)  # the lease, and what was reported under it

    async def keep_up(self) -> None:
        """Do one round. Raises database errors."""
        async with self._pool.connection() as connection:
            taken = await listeners.reap(connection)
            expired = await listeners.end_expired(connection)
            cancelled = await listeners.cancel_orphans(connection)
            for hindrance in await listeners.free_autovacuum(connection, ANALYZE_SECONDS):
                emit(AutovacuumHindered(hindrance))
            await listeners.fold_statistics(connection)
            maintained = await listeners.maintain(connection)
            neglected = await listeners.tables_behind_on_vacuum(connection) if maintained else []
            await self._report_loop_held(connection)
        if taken or expired:
            self._wakeups.queue.set()  # they are queued again, or were ahead of others in a queue
        if taken:
            emit(InvocationsRequeued(taken, "listener_lost"))
        if expired:
            emit(InvocationsDropped(expired, "expired"))
        if cancelled:
            emit(InvocationsDropped(cancelled, "function_deleted"))
        if neglected:
            emit(AutovacuumBehind(tuple(neglected)))

    async def _report_loop_held(self, connection: AsyncConnection) -> None:
        longest = self._loop_watch.recent_ms
        held_ms = round(longest) if longest > LIMIT_MS else 0
        lease, last = self._lease.id, self._reported[1] if self._reported[0] == self._lease.id else 0
        if lease is not None and held_ms != last:
            await listeners.report_blocked_loop(connection, lease, held_ms)
            self._reported = (lease, held_ms)


async def watch_sessions(database_url: str) -> None:
    """End projects' database sessions that block others, once a second until the connection is lost.

    On a connection of its own: when all locks are taken, only one that already knows the roles still works.
    """
    async with await AsyncConnection.connect(
        with_required_auth(database_url),
        autocommit=True,
        **{**KEEPALIVE_OPTIONS, "application_name": "zmesh listener watch"},
    ) as connection:
        while True:
            try:
                for harm in await listeners.end_harmful_sessions(connection):
                    emit(DatabaseSessionEnded(harm))
            except psycopg.errors.OutOfMemory as error:
                emit(DatabaseFailed("session watch", error.diag.message_primary or str(error)))
            await asyncio.sleep(WATCH_SECONDS)
