"""Carries out claimed invocations: environment, database, sandbox, outcome. One task per attempt."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from uuid import UUID

import msgspec
from psycopg_pool import AsyncConnectionPool

from listener.attempts import ended, failed_outcome, outcome_of, run_request, with_notice
from listener.databases import ProjectDatabases
from listener.dry_runs import Changes, DryRun
from listener.environments import Environment, environment_of
from listener.files import Files
from listener.fork_refusals import ForkRefusals
from listener.imports import Imports
from listener.layers import LayerError, Layers
from listener.lease import Lease
from listener.logs import LiveLogs
from listener.outcomes import OutcomeWriter
from listener.payloads import Payloads
from listener.postgres import DATABASE_ERRORS
from listener.sessions import Sessions
from listener.settings import Settings
from listener.slots import Slots
from listener.streams import Streams
from listener.wakeups import Wakeups
from observing.events import AttemptNotStarted, AttemptStarted, InternalError, OutcomeLate
from observing.logs import invocation_id
from observing.stream import emit
from sandbox import RunOutcome, RunRequest, Sandbox
from sql import listeners
from sql.errors import LeaseLost
from sql.listeners import AttemptOutcome, ClaimedInvocation
from sql.secrets import Sealed
from support.sealing import Sealer, SealingError

RETRY_SECONDS = 1.0


class Runs:
    """Starts runs in the sandbox, and passes their outcomes on to be written while the lease lasts."""

    def __init__(
        self,
        settings: Settings,
        pool: AsyncConnectionPool,
        sandbox: Sandbox,
        lease: Lease,
        slots: Slots,
        layers: Layers,
        wakeups: Wakeups,
    ) -> None:
        self._sandbox = sandbox
        self._lease = lease
        self._slots = slots
        self._layers = layers
        self._sealer = Sealer(settings.secret_key)
        self._pool = pool
        self._databases = ProjectDatabases(pool, self._sealer, settings.database_url)
        self._files = Files(pool)
        self._payloads = Payloads(pool)
        self._imports = Imports(pool)
        self._fork_refusals = ForkRefusals(pool)
        self._sessions = Sessions()
        self.streams = Streams(pool, wakeups.streams)
        self.live_logs = LiveLogs(pool)
        self.outcomes = OutcomeWriter(settings.database_url, self._on_written)
        self.some_unstarted = False  # some were claimed but not started, and must be given back

    def start(self, lease: UUID, invocation: ClaimedInvocation, secrets: Sequence[Sealed]) -> None:
        """Take a slot for an invocation that was claimed under this lease, and run it."""
        emit(
            AttemptStarted(
                invocation.id, invocation.attempt, invocation.language, invocation.waited, invocation.queue_ms / 1000
            )
        )
        self._slots.start(invocation, partial(self._run, lease, invocation, secrets))

    async def close(self) -> None:
        """End the database sessions that no run has taken."""
        await self._sessions.close()

    async def _run(
        self, lease: UUID, invocation: ClaimedInvocation, secrets: Sequence[Sealed], cancel: asyncio.Event
    ) -> None:
        began = time.monotonic()
        invocation_id.set(str(invocation.id))
        try:
            outcome = await self._outcome(lease, invocation, secrets, cancel)
        except LayerError as error:
            outcome = failed_outcome(invocation, "platform_error", str(error))
        except SealingError as error:
            outcome = failed_outcome(invocation, "platform_error", f"{error}.")
        except LeaseLost:  # it belongs to another listener, or has ended
            outcome = None
        except DATABASE_ERRORS as error:  # nothing has started yet
            emit(AttemptNotStarted(invocation.id, invocation.attempt, str(error).strip()))
            await asyncio.sleep(RETRY_SECONDS)
            self.some_unstarted = True
            outcome = None
        except LookupError as error:
            outcome = failed_outcome(invocation, "platform_error", f"The run cannot be prepared: {error}.")
        except Exception as error:  # a fault of the platform must not leave the invocation running forever
            emit(InternalError("a run", error))
            outcome = failed_outcome(invocation, "platform_error", f"The platform failed to run this: {error!r}")
        if outcome is not None:
            emit(ended(invocation, outcome, time.monotonic() - began))
        if outcome is None:
            self._slots.release(invocation.id, invocation.attempt, wake=True)
        elif self._lease.id == lease:
            self.outcomes.put(lease, outcome)
        else:
            self._on_written(outcome, accepted=False)

    async def _outcome(
        self, lease: UUID, invocation: ClaimedInvocation, secrets: Sequence[Sealed], cancel: asyncio.Event
    ) -> AttemptOutcome | None:
        """Run it; None if it was not started because it may belong to another listener by now."""
        environment = await environment_of(invocation, secrets, self._sealer)
        url = await self._databases.url(invocation.project_id)
        files = await self._files.of(invocation)
        invocation = await self._payloads.completed(lease, invocation)
        with closing(DryRun()) as dry_run:
            take_session = dry_run.attach if invocation.dry_run else self._sessions.take
            request = run_request(invocation, environment, files, url, take_session)
            async with self._layers.of_build(invocation.project_id, invocation.build_id, request.runtime) as layer:
                if layer is not None:
                    preload = await self._imports.of(invocation, layer)
                    request = replace(request, image=self._layers.image_of(invocation.project_id, layer, preload))
                if not self._lease.holds(lease):
                    return None
                outcome, written = await self._run_in_sandbox(lease, invocation, environment, request, cancel)
                if layer is not None:
                    await self._imports.learn(invocation, layer, outcome.imported)
                await self._fork_refusals.tell(lease, invocation, layer, outcome)
            if invocation.dry_run:
                await self._keep_changes(lease, invocation, await dry_run.changes())
        return await outcome_of(invocation, environment, with_notice(invocation, outcome), written)

    async def _keep_changes(self, lease: UUID, invocation: ClaimedInvocation, changes: Changes) -> None:
        with suppress(*DATABASE_ERRORS):  # the outcome counts; who asks for the changes is told that there are none
            async with self._pool.connection() as connection:
                await listeners.keep_changes(connection, lease, invocation.id, msgspec.json.encode(changes).decode())

    async def _run_in_sandbox(
        self,
        lease: UUID,
        invocation: ClaimedInvocation,
        environment: Environment,
        request: RunRequest,
        cancel: asyncio.Event,
    ) -> tuple[RunOutcome, int]:
        """How it ended, and how many lines of its log were written meanwhile."""
        with (
            self.live_logs.of(invocation, environment, lease, request.printed) as log_of_run,
            self.streams.opened(invocation.id, lease) as stream,
        ):
            outcome = await self._sandbox.run(request, cancel, stream)
            await stream.written(cancel)
        return outcome, log_of_run.written

    def _on_written(self, outcome: AttemptOutcome, accepted: bool) -> None:
        if not accepted:
            emit(OutcomeLate(outcome.id, outcome.attempt))
        may_be_retried = outcome.status not in ("success", "cancelled")
        self._slots.release(outcome.id, outcome.attempt, wake=may_be_retried)
