"""Claims invocations, as many as there are free slots, whenever something may be due."""

from __future__ import annotations

import asyncio
import math
import time
from uuid import UUID

from listener.connections import OwnConnection
from listener.lease import Lease
from listener.postgres import DATABASE_ERRORS
from listener.runs import Runs
from listener.settings import Settings
from listener.slots import Slots
from listener.waiting import wait_and_clear
from listener.wakeups import Wakeups
from observing.events import DatabaseFailed, InvocationsClaimed, InvocationsRequeued
from observing.stream import emit
from sql import listeners
from sql.errors import LeaseLost
from sql.listeners import ClaimedInvocation, ClaimRound
from sql.secrets import Sealed, secrets_of

GIVE_BACK_SECONDS = 5.0
RETRY_SECONDS = 1.0
AFTER_LEASE_LOST_SECONDS = 0.1
# While a listener waits, it polls less and less often. The first polls come early: an insert that began while all
# listeners were busy notifies nobody, and may commit just after the claim with which this one began to wait.
POLLS_SECONDS = (0.02, 0.1, 0.5, 1.0)
NOTHING = ClaimRound([], waiting=False, more=True, seconds_to_next=None)


class Claims:
    """The only task that claims. `Runs` carries out what it claims.

    It claims when the database notifies, when a delayed invocation comes due, and when a run ends, unless the previous
    claim left nothing in the queue: a call with nothing queued behind it costs one claim.
    """

    def __init__(self, settings: Settings, lease: Lease, slots: Slots, runs: Runs, wakeups: Wakeups) -> None:
        self._connection = OwnConnection(settings.database_url, "claims")
        self._lease = lease
        self._slots = slots
        self._runs = runs
        self._wake = wakeups.queue  # set when something may be claimed: by the database, or by a slot that becomes free
        self._renew = wakeups.cancels
        self._give_back_at = 0.0
        self._waiting: bool | None = False  # whether inserts have notified this listener since the previous claim
        self._polls = 0

    async def run(self) -> None:
        """Claim what is due, forever."""
        try:
            while True:
                lease, free = self._lease.id, self._slots.free
                if lease is None:
                    await wait_and_clear(self._wake, POLLS_SECONDS[-1])
                    continue
                self._wake.clear()
                if self._runs.some_unstarted or time.monotonic() >= self._give_back_at:
                    await self._give_back(lease)
                self._slots.wake_when_freed = True  # until this claim shows that it is not needed
                pause = self._pause_after(await self._claim(lease, free), free)
                if pause > 0:
                    await wait_and_clear(self._wake, pause)
        finally:
            await self._connection.close()

    def _pause_after(self, found: ClaimRound, free: int) -> float:
        """How long to wait for a wake-up before the next claim."""
        if free == 0:  # until a slot becomes free, or one of the runs calls a function
            return POLLS_SECONDS[-1]
        self._polls = 0 if found.waiting and not self._waiting else min(self._polls + 1, len(POLLS_SECONDS) - 1)
        self._waiting = found.waiting
        if sum(not invocation.lent for invocation in found.invocations) >= free:
            return 0.0
        self._slots.wake_when_freed = found.more
        next_due = math.inf if found.seconds_to_next is None else max(0.0, found.seconds_to_next)
        return min(POLLS_SECONDS[self._polls], next_due)

    async def _claim(self, lease: UUID, free: int) -> ClaimRound:
        began = time.monotonic()
        try:
            async with self._connection.use() as connection:
                found = await listeners.claim(connection, lease, free)
                lent = sum(invocation.lent for invocation in found.invocations)
                emit(InvocationsClaimed(len(found.invocations), lent, time.monotonic() - began))
                # On the same connection at once, so that each run gets the values that are current when it is claimed.
                keys = {
                    (invocation.project_id, invocation.function_id)
                    for invocation in found.invocations
                    if invocation.has_secrets
                }
                secrets = await secrets_of(connection, keys) if keys else []
        except LeaseLost:
            self._renew.set()  # the lease's task notices, and stops the runs
            await asyncio.sleep(AFTER_LEASE_LOST_SECONDS)
            return NOTHING
        except (*DATABASE_ERRORS, OSError) as error:
            emit(DatabaseFailed("claims", str(error).strip()))
            self._give_back_at = 0.0
            await asyncio.sleep(RETRY_SECONDS)
            return NOTHING
        if not self._lease.holds(lease):
            return NOTHING  # this process was suspended, and other listeners may have claimed them meanwhile
        for invocation in found.invocations:
            self._runs.start(lease, invocation, _of_function(secrets, invocation))
        return found

    async def _give_back(self, lease: UUID) -> None:
        """Requeue what a claim took if its answer never arrived. Never during a claim, whose answer may still come."""
        self._runs.some_unstarted = False
        try:
            async with self._connection.use() as connection:
                returned = await listeners.give_back(connection, lease, self._slots.invocations)
        except (*DATABASE_ERRORS, OSError) as error:
            emit(DatabaseFailed("give-back", str(error).strip()))
            self._give_back_at = 0.0
            return
        self._give_back_at = time.monotonic() + GIVE_BACK_SECONDS
        if returned:
            emit(InvocationsRequeued(returned, "claim_lost"))


def _of_function(secrets: list[Sealed], invocation: ClaimedInvocation) -> list[Sealed]:
    return [secret for secret in secrets if secret.for_function == invocation.function_id]
