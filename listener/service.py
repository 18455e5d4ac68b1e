"""The listener: claims jobs, runs them in the sandbox, writes how they ended."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Coroutine
from typing import Any
from uuid import UUID

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from listener.callbacks import Callbacks
from listener.databases import ProjectDatabases
from listener.endings import Endings
from listener.environments import environment_of
from listener.live_logs import LiveLogs
from listener.runs import failed_outcome, outcome_of, run_request
from listener.sessions import Sessions
from listener.settings import Settings
from listener.streams import Streams
from listener.wakeups import Wakeups
from sandbox import Sandbox
from sql import jobs
from sql.connecting import KEEPALIVE_OPTIONS, with_required_auth
from sql.errors import DomainError, LeaseLost
from sql.jobs import AttemptOutcome, Job
from sql.secrets import Sealed, secrets_of
from support.loop_watch import LIMIT_MS, LoopWatch
from support.sealing import Sealer, SealingError
from support.tasks import end

log = logging.getLogger(__name__)
CLOCK_SECONDS = 1.0
UPKEEP_SECONDS = 2.0
WATCH_SECONDS = 1.0
ANALYZE_SECONDS = 60.0  # a sixth of it where workers of autovacuum are short
GIVE_BACK_SECONDS = 5.0
GUARD_SECONDS = 0.1
LEAVE_SECONDS = 3.0
# While a listener waits, polls become rarer. The first are soon: an insert that began while all listeners were busy
# notifies nobody, and may commit just after the last claim.
POLLS_SECONDS = (0.02, 0.1, 0.5, 1.0)
RETRY_SECONDS = 1.0
RENEWALS_PER_LEASE = 5
RENEWALS_APART_SECONDS = 0.05  # everybody can notify, as often as he likes
DATABASE_TROUBLE = (psycopg.Error, PoolTimeout, DomainError)


Attempt = tuple[UUID, int]


def lease_clock() -> float:
    """Seconds that go on while the machine sleeps, as those of the database elsewhere do."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Listener:
    """One listener process: a lease, `slots` runs at a time."""

    def __init__(self, settings: Settings, sandbox: Sandbox, pool: AsyncConnectionPool) -> None:
        self._settings = settings
        self._sandbox = sandbox
        self._pool = pool
        self._wakeups = Wakeups(settings.database_url)
        self._sealer = Sealer(settings.secret_key)
        self._databases = ProjectDatabases(pool, self._sealer, settings.database_url)
        self._sessions = Sessions()
        self._callbacks = Callbacks(pool, self._sealer, settings.callback_networks, self._wakeups.callbacks)
        self._endings = Endings(pool, self._written)
        self._streams = Streams(pool, self._wakeups.streams)
        self._live_logs = LiveLogs(pool)
        self.loop_watch = LoopWatch("event loop")
        self._told_held_ms = 0
        self._lease: UUID | None = None
        self._lease_ends = 0.0  # by lease_clock(), and never later than by the database's
        self._give_back_at = 0.0
        self._running: dict[Attempt, asyncio.Event] = {}  # set to stop the run
        self._lent: set[Attempt] = set()  # those that run in the slot of one that waits for them
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()  # set while nothing runs
        self._draining = False  # takes only what its own runs wait for

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then let the runs end within `drain_seconds` and give the rest back."""
        duties = [
            asyncio.create_task(duty, name=name)
            for name, duty in (
                ("wake-ups", self._wakeups.run()),
                ("endings", self._endings.run()),
                ("streams", self._streams.run()),
                ("live logs", self._live_logs.run()),
                ("callbacks", self._callbacks.run()),
                ("lease", self._keep_lease()),
                ("guard", self._guard_lease()),
                ("claims", self._claim_jobs()),
                ("upkeep", self._every(UPKEEP_SECONDS, "upkeep", self._keep_up)),
                ("watch", self._every(WATCH_SECONDS, "watching the database", self._watch)),
                ("clock", self._every(CLOCK_SECONDS, "the clock", self._tick)),
            )
        ]
        stopped = asyncio.create_task(stop.wait())
        self.loop_watch.start()
        try:
            done, _ = await asyncio.wait([stopped, *duties], return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stopped}:
                task.result()  # a duty never returns: this raises what ended it
            await self._drain()
        finally:
            self.loop_watch.stop()
            await end({stopped, *duties})
            await self._sessions.close()

    async def _drain(self) -> None:
        self._draining = True
        log.info("stopping: %d runs left", len(self._running))
        if self._running:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.drain_seconds):
                    await self._idle.wait()
        lease, self._lease = self._lease, None
        await self._stop_runs()  # before others may start the same again
        if lease is not None:
            try:
                async with asyncio.timeout(LEAVE_SECONDS), self._pool.connection() as connection:
                    returned = await jobs.leave(connection, lease)
                if returned:
                    log.info("gave %d invocations back", returned)
            except (*DATABASE_TROUBLE, TimeoutError) as error:
                log.warning("leaving: %s; the lease will run out by itself", str(error).strip())

    async def _stop_runs(self) -> None:
        for cancel in self._running.values():
            cancel.set()
        if self._tasks:
            await asyncio.wait(self._tasks)

    # The lease

    async def _keep_lease(self) -> None:
        pause = self._settings.lease_seconds / RENEWALS_PER_LEASE
        while self._lease is not None or not self._draining:
            try:
                await (self._register() if self._lease is None else self._renew(self._lease))
            except LeaseLost:
                await self._lose_lease("the lease has run out")
            except DATABASE_TROUBLE as error:
                log.warning("lease: %s", str(error).strip())
                await asyncio.sleep(min(RETRY_SECONDS, pause))
            else:
                await self._pause(self._wakeups.cancels, pause)
                await asyncio.sleep(RENEWALS_APART_SECONDS)

    async def _guard_lease(self) -> None:
        """Stop the runs when the lease ends, whatever the database or the connection to it is doing."""
        while True:
            left = self._lease_ends - lease_clock()
            if self._lease is not None and left <= 0:
                await self._lose_lease("the database was away for longer than the lease")
            await asyncio.sleep(left if left > 0 else GUARD_SECONDS)

    async def _register(self) -> None:
        await self._stop_runs()  # of a lease before
        asked = lease_clock()
        async with self._pool.connection() as connection:
            self._lease = await jobs.register_listener(
                connection, self._settings.name, self._settings.slots, self._settings.lease_seconds
            )
        self._lease_ends = asked + self._settings.lease_seconds
        self._told_held_ms = 0
        log.info("registered as %s with %d slots", self._lease, self._settings.slots)
        self._wakeups.jobs.set()

    async def _renew(self, lease: UUID) -> None:
        asked = lease_clock()
        async with self._pool.connection() as connection:
            cancelled = await jobs.renew_lease(connection, lease, self._settings.lease_seconds)
        if self._lease != lease:
            return  # given up meanwhile
        self._lease_ends = asked + self._settings.lease_seconds
        for (invocation, _), cancel in self._running.items():
            if invocation in cancelled:
                cancel.set()

    async def _lose_lease(self, why: str) -> None:
        log.error("%s: stopping %d runs that belong to others now", why, len(self._running))
        self._lease = None
        await self._stop_runs()

    def _holds(self, lease: UUID) -> bool:
        return self._lease == lease and lease_clock() < self._lease_ends

    # Claims and runs

    async def _claim_jobs(self) -> None:
        polls = 0
        while True:
            lease, free = self._lease, self._free_slots()
            if lease is None:
                await self._pause(self._wakeups.jobs, POLLS_SECONDS[-1])
                continue
            self._wakeups.jobs.clear()
            if time.monotonic() >= self._give_back_at:
                await self._give_back(lease)
            claimed = await self._claim(lease, free)
            if free == 0:  # a slot that gets free ends it, and so does a call of one of the runs
                await self._pause(self._wakeups.jobs, POLLS_SECONDS[-1])
                continue
            polls = 0 if claimed else min(polls + 1, len(POLLS_SECONDS) - 1)
            if sum(not job.lent for job in claimed) < free:  # that was all
                await self._pause(self._wakeups.jobs, min(POLLS_SECONDS[polls], await self._seconds_to_next()))

    def _free_slots(self) -> int:
        return 0 if self._draining else max(0, self._settings.slots - (len(self._running) - len(self._lent)))

    async def _claim(self, lease: UUID, free: int) -> list[Job]:
        try:
            async with self._pool.connection() as connection:
                claimed = await jobs.claim(connection, lease, free)
                # In the same breath, so that each run gets the values of its own time.
                secret = {(job.project_id, job.function_id) for job in claimed if job.has_secrets}
                secrets = await secrets_of(connection, secret) if secret else []
        except LeaseLost:
            self._wakeups.cancels.set()  # the lease's own task finds out, and stops the runs
            await asyncio.sleep(0.1)
            return []
        except DATABASE_TROUBLE as error:
            log.warning("claiming: %s", str(error).strip())
            self._give_back_at = 0.0
            await asyncio.sleep(RETRY_SECONDS)
            return []
        if not self._holds(lease):
            return []  # we stood still, and others may have them by now
        for job in claimed:
            self._idle.clear()
            self._running[job.id, job.attempt] = asyncio.Event()
            if job.lent:
                self._lent.add((job.id, job.attempt))
            self._start(self._run_job(lease, job, [s for s in secrets if s.for_function == job.function_id]))
        return claimed

    async def _give_back(self, lease: UUID) -> None:
        """Queue again what a claim took whose answer never came. Never beside a claim, whose answer is on its way."""
        try:
            async with self._pool.connection() as connection:
                returned = await jobs.give_back(connection, lease, [id for id, _ in self._running])
        except DATABASE_TROUBLE as error:
            log.warning("giving back: %s", str(error).strip())
            return
        self._give_back_at = time.monotonic() + GIVE_BACK_SECONDS
        if returned:
            log.warning("queued %d invocations again: the answer to their claim was lost", returned)

    async def _seconds_to_next(self) -> float:
        """How long until something delayed comes due: a timer, so that short delays are kept to."""
        try:
            async with self._pool.connection() as connection:
                seconds = await jobs.seconds_to_next(connection)
        except DATABASE_TROUBLE:
            return RETRY_SECONDS
        return math.inf if seconds is None else max(0.0, seconds)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run_job(self, lease: UUID, job: Job, secrets: list[Sealed]) -> None:
        try:
            environment = await environment_of(job, secrets, self._sealer)
            url = await self._databases.url(job.project_id)
            request = run_request(job, environment, url, self._sessions.take)
            cancel = self._running[job.id, job.attempt]
            if not self._holds(lease):
                self._forget(job.id, job.attempt)
                return
            with (
                self._live_logs.of(job, environment, lease, request.printed) as log_of_run,
                self._streams.opened(job.id, lease) as stream,
            ):
                outcome = await self._sandbox.run(request, cancel, stream)
                await stream.written(cancel)
            ending = await outcome_of(job, environment, outcome, log_of_run.written)
        except SealingError as error:
            ending = failed_outcome(job, "platform_error", f"{error}.")
        except DATABASE_TROUBLE as error:  # nothing has begun yet
            log.warning("preparing %s: %s; queueing it again", job.id, str(error).strip())
            await asyncio.sleep(RETRY_SECONDS)
            self._give_back_at = 0.0
            self._forget(job.id, job.attempt)
            return
        except LookupError as error:
            ending = failed_outcome(job, "platform_error", f"The project's database is not reachable: {error}")
        except Exception as error:  # a fault of ours must not leave the job running for ever
            log.exception("running %s", job.id)
            ending = failed_outcome(job, "platform_error", f"The platform failed to run this: {error!r}")
        if self._lease == lease:
            self._endings.put(lease, ending)
        else:
            self._written(ending, accepted=False)

    def _written(self, ending: AttemptOutcome, accepted: bool) -> None:
        if not accepted:
            log.warning("the result of %s, attempt %d, came after its lease", ending.id, ending.attempt)
        self._forget(ending.id, ending.attempt)

    def _forget(self, id: UUID, attempt: int) -> None:
        self._running.pop((id, attempt), None)
        self._lent.discard((id, attempt))
        if not self._running:
            self._idle.set()
        self._wakeups.jobs.set()  # a slot is free

    # Housekeeping

    async def _keep_up(self) -> None:
        async with self._pool.connection() as connection:
            taken = await jobs.reap(connection)
            expired = await jobs.end_expired(connection)
            cancelled = await jobs.cancel_orphans(connection)
            for hindrance in await jobs.free_autovacuum(connection, ANALYZE_SECONDS):
                log.warning("autovacuum: %s", hindrance)
            neglected = await jobs.neglected_tables(connection) if await jobs.maintain(connection) else []
            await self._tell_loop_held(connection)
        if taken:
            log.warning("took %d invocations from listeners that stopped", taken)
            self._wakeups.jobs.set()
        if expired:
            self._wakeups.jobs.set()  # they stood before others
            log.info("%d invocations were not started in time", expired)
        if cancelled:
            log.info("cancelled %d invocations of functions that were deleted", cancelled)
        if neglected:
            log.error("autovacuum does not keep up with zmesh.%s: see `zmesh doctor`", ", zmesh.".join(neglected))

    async def _tell_loop_held(self, connection: psycopg.AsyncConnection) -> None:
        longest = self.loop_watch.recent_ms
        held_ms = round(longest) if longest > LIMIT_MS else 0
        if self._lease is not None and held_ms != self._told_held_ms:
            await jobs.tell_loop_held(connection, self._lease, held_ms)
            self._told_held_ms = held_ms

    async def _watch(self) -> None:
        """By a connection of its own: when all locks are taken, one that knows the roles already gets through."""
        async with await psycopg.AsyncConnection.connect(
            with_required_auth(self._settings.database_url),
            autocommit=True,
            **{**KEEPALIVE_OPTIONS, "application_name": "zmesh listener watch"},
        ) as connection:
            while True:
                try:
                    for harm in await jobs.end_harmful_sessions(connection):
                        log.warning("ended a session of a project: %s", harm)
                except psycopg.errors.OutOfMemory as error:
                    log.warning("watching the database: %s", error.diag.message_primary)
                await asyncio.sleep(WATCH_SECONDS)

    async def _tick(self) -> None:
        async with self._pool.connection() as connection:
            await jobs.listener_tick(connection)

    async def _every(self, seconds: float, what: str, act: Any) -> None:
        while True:
            try:
                await act()
            except DATABASE_TROUBLE as error:
                log.warning("%s: %s", what, str(error).strip())
            await asyncio.sleep(seconds)

    @staticmethod
    async def _pause(event: asyncio.Event, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):  # wait_for of Python 3.11 may swallow a cancellation
                await event.wait()
        event.clear()
