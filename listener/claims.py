"""Where invocations are claimed: as many as there are free slots, whenever something may be due."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from uuid import UUID

from psycopg_pool import AsyncConnectionPool

from listener.lease import Lease
from listener.postgres import DATABASE_ERRORS
from listener.runs import Runs
from listener.slots import Slots
from listener.waiting import wait_and_clear
from listener.wakeups import Wakeups
from sql import jobs
from sql.errors import LeaseLost
from sql.jobs import Job
from sql.secrets import Sealed, secrets_of

log = logging.getLogger(__name__)
GIVE_BACK_SECONDS = 5.0
RETRY_SECONDS = 1.0
AFTER_LEASE_LOST_SECONDS = 0.1
# While a listener waits, polls become rarer. The first are soon: an insert that began while all listeners were busy
# notifies nobody, and may commit just after the last claim.
POLLS_SECONDS = (0.02, 0.1, 0.5, 1.0)


class Claims:
    """The one task that claims. What it claims, `Runs` carries out."""

    def __init__(self, pool: AsyncConnectionPool, lease: Lease, slots: Slots, runs: Runs, wakeups: Wakeups) -> None:
        self._pool = pool
        self._lease = lease
        self._slots = slots
        self._runs = runs
        self._wake = wakeups.jobs  # set when something may be claimed: by the database, or by a slot that gets free
        self._renew = wakeups.cancels
        self._give_back_at = 0.0
        self._polls = 0

    async def run(self) -> None:
        """Claim what is due, for ever."""
        while True:
            lease, free = self._lease.id, self._slots.free
            if lease is None:
                await wait_and_clear(self._wake, POLLS_SECONDS[-1])
                continue
            self._wake.clear()
            if self._runs.some_unstarted or time.monotonic() >= self._give_back_at:
                await self._give_back(lease)
            claimed = await self._claim(lease, free)
            if free == 0:  # until a slot gets free, or one of the runs calls
                await wait_and_clear(self._wake, POLLS_SECONDS[-1])
                continue
            self._polls = 0 if claimed else min(self._polls + 1, len(POLLS_SECONDS) - 1)
            if sum(not job.lent for job in claimed) < free:  # that was all
                pause = min(POLLS_SECONDS[self._polls], await self._seconds_to_next())
                await wait_and_clear(self._wake, pause)

    async def _claim(self, lease: UUID, free: int) -> list[Job]:
        try:
            async with self._pool.connection() as connection:
                claimed = await jobs.claim(connection, lease, free)
                # By the same connection at once, so that each run gets the values of its own time.
                keys = {(job.project_id, job.function_id) for job in claimed if job.has_secrets}
                secrets = await secrets_of(connection, keys) if keys else []
        except LeaseLost:
            self._renew.set()  # the lease's own task finds out, and stops the runs
            await asyncio.sleep(AFTER_LEASE_LOST_SECONDS)
            return []
        except DATABASE_ERRORS as error:
            log.warning("claiming: %s", str(error).strip())
            self._give_back_at = 0.0
            await asyncio.sleep(RETRY_SECONDS)
            return []
        if not self._lease.holds(lease):
            return []  # this process stood still, and others may have them by now
        for job in claimed:
            self._runs.start(lease, job, _of_function(secrets, job))
        return claimed

    async def _give_back(self, lease: UUID) -> None:
        """Queue again what a claim took whose answer never came. Never beside a claim, whose answer is on its way."""
        self._runs.some_unstarted = False
        try:
            async with self._pool.connection() as connection:
                returned = await jobs.give_back(connection, lease, self._slots.invocations)
        except DATABASE_ERRORS as error:
            log.warning("giving back: %s", str(error).strip())
            self._give_back_at = 0.0
            return
        self._give_back_at = time.monotonic() + GIVE_BACK_SECONDS
        if returned:
            log.warning("queued %d invocations again: the answer to their claim was lost", returned)

    async def _seconds_to_next(self) -> float:
        """How long until something delayed comes due: a timer, so that short delays are kept to."""
        try:
            async with self._pool.connection() as connection:
                seconds = await jobs.seconds_to_next(connection)
        except DATABASE_ERRORS:
            return RETRY_SECONDS
        return math.inf if seconds is None else max(0.0, seconds)


def _of_function(secrets: list[Sealed], job: Job) -> list[Sealed]:
    return [secret for secret in secrets if secret.for_function == job.function_id]
