"""The listener's lease: registered, renewed while the process lives, and given up when it ends.

Runs are stopped before others can claim their invocations, at the latest when the lease expires by this machine's
clock.
"""

from __future__ import annotations

import asyncio
import time
from uuid import UUID

from psycopg_pool import AsyncConnectionPool

from listener.postgres import DATABASE_ERRORS
from listener.settings import Settings
from listener.slots import Slots
from listener.waiting import wait_and_clear
from listener.wakeups import Wakeups
from observing.events import DatabaseFailed, InvocationsRequeued, ListenerRegistered
from observing.events import LeaseLost as LeaseLostEvent
from observing.stream import emit
from sandbox.model import Report
from sql import listeners
from sql.errors import LeaseLost

RENEWALS_PER_LEASE = 5
RENEWALS_APART_SECONDS = 0.05  # every role can send the notification that asks for one
GUARD_SECONDS = 0.1
RETRY_SECONDS = 1.0
LEAVE_SECONDS = 3.0


def lease_clock() -> float:
    """Seconds by a clock that keeps running while the machine sleeps, as the database's clock elsewhere does."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Lease:
    """This listener's right to what it claims; `id` is None while it has none."""

    def __init__(
        self, settings: Settings, sandbox: Report, pool: AsyncConnectionPool, slots: Slots, wakeups: Wakeups
    ) -> None:
        self._settings = settings
        self._sandbox = sandbox
        self._pool = pool
        self._slots = slots
        self._wakeups = wakeups
        self._expires = 0.0  # by lease_clock(), never later than by the database's clock
        self._leaving = False
        self.id: UUID | None = None

    @property
    def held(self) -> bool:
        """Whether there is a lease that has not expired."""
        return self.id is not None and self.holds(self.id)

    def holds(self, id: UUID) -> bool:
        """Whether this is still the current lease, and it has not expired."""
        return self.id == id and lease_clock() < self._expires

    async def keep(self) -> None:
        """Register, renew, and register again if the lease is lost, until `leave`."""
        pause = self._settings.lease_seconds / RENEWALS_PER_LEASE
        while self.id is not None or not self._leaving:
            try:
                await (self._register() if self.id is None else self._renew(self.id))
            except LeaseLost:
                await self._lose("the lease has expired")
            except DATABASE_ERRORS as error:
                emit(DatabaseFailed("lease", str(error).strip()))
                await asyncio.sleep(min(RETRY_SECONDS, pause))
            else:
                await wait_and_clear(self._wakeups.cancels, pause)
                await asyncio.sleep(RENEWALS_APART_SECONDS)

    async def guard(self) -> None:
        """Stop the runs when the lease expires, whatever the database or the connection to it is doing."""
        while True:
            left = self._expires - lease_clock()
            if self.id is not None and left <= 0:
                await self._lose("the database was unreachable for longer than the lease")
            await asyncio.sleep(left if left > 0 else GUARD_SECONDS)

    def stop_renewing_when_lost(self) -> None:
        """From now on a lost lease is not replaced."""
        self._leaving = True

    async def leave(self) -> None:
        """Stop all runs and give the lease back, so that others need not wait for it to expire."""
        id, self.id = self.id, None
        await self._slots.stop_all()  # before others may start the same invocations
        if id is None:
            return
        try:
            async with asyncio.timeout(LEAVE_SECONDS), self._pool.connection() as connection:
                returned = await listeners.leave(connection, id)
            if returned:
                emit(InvocationsRequeued(returned, "stopping"))
        except (*DATABASE_ERRORS, TimeoutError) as error:
            emit(DatabaseFailed("lease", str(error).strip(), "the lease will expire by itself"))

    async def _register(self) -> None:
        await self._slots.stop_all()  # those of the previous lease
        asked = lease_clock()
        settings = self._settings
        async with self._pool.connection() as connection:
            id = await listeners.register_listener(connection, settings.name, settings.slots, settings.lease_seconds)
            await listeners.report_sandbox(connection, id, self._sandbox.level, self._sandbox.gaps)
        self.id, self._expires = id, asked + settings.lease_seconds  # at once: `guard` looks at both
        emit(ListenerRegistered(id, settings.slots))
        self._wakeups.queue.set()

    async def _renew(self, id: UUID) -> None:
        asked = lease_clock()
        async with self._pool.connection() as connection:
            cancelled = await listeners.renew_lease(connection, id, self._settings.lease_seconds)
        if self.id != id:
            return  # given up in the meantime
        self._expires = asked + self._settings.lease_seconds
        self._slots.cancel(cancelled)

    async def _lose(self, why: str) -> None:
        emit(LeaseLostEvent(why, self._slots.used))
        self.id = None
        await self._slots.stop_all()
