"""The listener: starts its duties, each in a file of its own, and ends them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from functools import partial
from typing import Any

from psycopg_pool import AsyncConnectionPool

from listener.builds import Builds
from listener.callbacks import Callbacks
from listener.claims import Claims
from listener.clock import TICK_SECONDS, Clock
from listener.layers import Layers
from listener.lease import Lease
from listener.runs import Runs
from listener.settings import Settings
from listener.slots import Slots
from listener.upkeep import WATCH_SECONDS, Upkeep, watch_sessions
from listener.waiting import every
from listener.wakeups import Wakeups
from observing.events import EventLoopBlocked, ListenerStopping
from observing.stream import emit
from sandbox import Sandbox
from support.garbage import deferred_full_collections
from support.loop_watch import LoopWatch
from support.sealing import Sealer
from support.tasks import end

UPKEEP_SECONDS = 2.0
MIB = 1024 * 1024


class Listener:
    """One listener process: one lease, up to `slots` runs at a time."""

    def __init__(self, settings: Settings, sandbox: Sandbox, pool: AsyncConnectionPool) -> None:
        self._settings = settings
        self.clock = Clock(pool)
        self._wakeups = Wakeups(settings.database_url)
        self.slots = Slots(settings.slots, self._wakeups.queue)
        self.lease = Lease(settings, sandbox.report(), pool, self.slots, self._wakeups)
        self._layers = Layers(pool, settings.layers_dir, settings.layers_mb * MIB)
        self._sandbox = sandbox
        self._builds = Builds(settings, pool, sandbox, self.lease, self._layers, self._wakeups)
        self._runs = Runs(settings, pool, sandbox, self.lease, self.slots, self._layers, self._wakeups)
        self._claims = Claims(settings, self.lease, self.slots, self._runs, self._wakeups)
        self._callbacks = Callbacks(
            pool, Sealer(settings.secret_key), settings.callback_networks, self._wakeups.callbacks
        )
        self.loop_watch = LoopWatch(lambda ms, stacks: emit(EventLoopBlocked(ms, stacks)))
        self._upkeep = Upkeep(pool, self.lease, self._wakeups, self.loop_watch)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until `stop` is set, then let runs finish within `drain_seconds` and give the rest back."""
        with deferred_full_collections():
            await self._run(stop)

    async def _run(self, stop: asyncio.Event) -> None:
        await self._layers.open()
        duties = [asyncio.create_task(duty, name=name) for name, duty in self._duties().items()]
        stopped = asyncio.create_task(stop.wait())
        loading = asyncio.create_task(self._layers.load_packages(self._sandbox))
        self.loop_watch.start()
        try:
            done, _ = await asyncio.wait([stopped, *duties], return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stopped}:
                task.result()  # a duty never returns: this raises the error that ended it
            await self._drain()
        finally:
            self.loop_watch.stop()
            await end({stopped, loading, *duties})
            await self._runs.close()
            self._layers.close()

    def _duties(self) -> dict[str, Coroutine[Any, Any, None]]:
        watch = partial(watch_sessions, self._settings.database_url)
        return {
            "wake-ups": self._wakeups.run(),
            "outcomes": self._runs.outcomes.run(),
            "streams": self._runs.streams.run(),
            "live logs": self._runs.live_logs.run(),
            "callbacks": self._callbacks.run(),
            "builds": self._builds.run(),
            "lease": self.lease.keep(),
            "guard": self.lease.guard(),
            "claims": self._claims.run(),
            "upkeep": every(UPKEEP_SECONDS, "upkeep", self._upkeep.keep_up),
            "watch": every(WATCH_SECONDS, "session watch", watch),
            "clock": every(TICK_SECONDS, "clock", self.clock.tick),
        }

    async def _drain(self) -> None:
        self.slots.close()
        self.lease.stop_renewing_when_lost()
        emit(ListenerStopping(self.slots.used))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.drain_seconds):
                await self.slots.wait_until_idle()
        await self.lease.leave()
