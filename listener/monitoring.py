"""What a listener shows on its admin port: its metrics, and whether it is ready."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from importlib.metadata import version

from psycopg_pool import AsyncConnectionPool

from listener.clock import Clock
from listener.lease import Lease
from listener.postgres import DATABASE_ERRORS
from listener.service import Listener
from listener.settings import Settings
from observing.admin import AdminServer, Readiness
from observing.metrics import ListenerMetrics
from observing.stream import subscribe
from sandbox import Sandbox
from sql import monitoring

CHECK_SECONDS = 4.0  # of the five that a connection gets
SILENT_SECONDS = 10.0
UNKNOWN = "unknown while the database is unreachable"


class Monitoring:
    """Metrics, readiness and the admin port of one listener."""

    def __init__(
        self, settings: Settings, sandbox: Sandbox, pool: AsyncConnectionPool, listener: Listener, stop: asyncio.Event
    ) -> None:
        """`stop` is set when the process is to end."""
        report = sandbox.report()
        self._metrics = ListenerMetrics(version("zmesh-functions"))
        self._metrics.watch_loop(lambda: listener.loop_watch.recent_ms)
        self._metrics.watch_pool(pool.get_stats)
        self._metrics.watch_runs(lambda: listener.slots.used, settings.slots, lambda: listener.lease.held)
        self._metrics.watch_sandbox(report.level, report.mode, report.node, sandbox.parked)
        checks = Checks(pool, sandbox, listener.lease, listener.clock, stop)
        readiness = Readiness(checks.examine, advisory=frozenset({"sandbox"}))
        self._server = AdminServer(settings, self._metrics, readiness)
        subscribe(self._metrics.observe)

    async def start(self) -> None:
        """Listen, if a port is set. Raises AdminPortError if that fails."""
        await self._server.start()

    def close(self) -> None:
        self._server.close()


class Checks:
    """The checks of a listener. Weaker isolation does not make it unready, unless ZMESH_SANDBOX_REQUIRED is set."""

    def __init__(
        self, pool: AsyncConnectionPool, sandbox: Sandbox, lease: Lease, clock: Clock, stop: asyncio.Event
    ) -> None:
        self._pool = pool
        self._sandbox = sandbox
        self._lease = lease
        self._clock = clock
        self._stop = stop

    async def examine(self) -> Mapping[str, str | None]:
        """What is wrong, by name of the check."""
        return {
            **await self._examine_database(),
            "running": "stopping: no longer claiming" if self._stop.is_set() else None,
            "lease": None if self._lease.held else "none is held",
            "sandbox": None if self._sandbox.report().level == "full" else "isolation is reduced: run zmesh doctor",
            "clock": f"no tick within {SILENT_SECONDS:g} s" if self._clock.silent_seconds > SILENT_SECONDS else None,
        }

    async def _examine_database(self) -> Mapping[str, str | None]:
        try:
            async with asyncio.timeout(CHECK_SECONDS), self._pool.connection() as connection:
                await monitoring.reach(connection)
                missing = await monitoring.missing_scripts(connection)
        except (*DATABASE_ERRORS, TimeoutError):
            return {"database": "not reachable", "schema": UNKNOWN}
        return {"database": None, "schema": "older than this process: run zmesh migrate" if missing else None}
