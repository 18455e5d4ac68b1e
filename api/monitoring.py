"""What an API process shows on its admin port: its metrics, and whether it is ready."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from importlib.metadata import version

from api.app import Parts
from api.database import Database
from api.http.admission import Admission
from observing.admin import AdminServer, AdminSettings, Readiness
from observing.metrics import ApiMetrics
from observing.stream import subscribe
from sql import monitoring
from sql.errors import DomainError

FRESH_SECONDS = 1.0
READ_SECONDS = 2.0
CHECK_SECONDS = 4.0  # of the five that a connection has
UNKNOWN = "unknown while the database is unreachable"


class Monitoring:
    """Metrics, readiness and the admin port of one API process."""

    def __init__(self, settings: AdminSettings, parts: Parts, admission: Admission) -> None:
        self._metrics = ApiMetrics(version("zmesh-functions"))
        self._metrics.watch_loop(lambda: parts.loop_watch.recent_ms)
        self._metrics.watch_pool(parts.database.pool_stats)
        self._metrics.watch_http(lambda: admission.connections, lambda: admission.upload_bytes)
        self._metrics.watch_calls(lambda: parts.replies.waiting)
        self._queue = QueueReader(parts.database, self._metrics)
        self._readiness = Readiness(Checks(parts.database).examine, advisory=frozenset({"clock"}))
        self._server = AdminServer(settings, self._metrics, self._readiness, self._queue.read)
        subscribe(self._metrics.observe)

    async def start(self) -> None:
        """Listen, if a port is set. Raises AdminPortError where the port is taken or refused."""
        await self._server.start()

    def stop_being_ready(self) -> None:
        """The process is about to end: nobody should send it more."""
        self._readiness.stop()

    def close(self) -> None:
        self._server.close()


class QueueReader:
    """Reads the queue for the metrics, at most once a second however often it is scraped."""

    def __init__(self, database: Database, metrics: ApiMetrics) -> None:
        self._database = database
        self._metrics = metrics
        self._read_at = float("-inf")
        self._lock = asyncio.Lock()

    async def read(self) -> None:
        """Have figures that are at most a second old; none if the database does not answer in time."""
        async with self._lock:
            if time.monotonic() - self._read_at < FRESH_SECONDS:
                return
            try:
                async with asyncio.timeout(READ_SECONDS):
                    self._metrics.queue.figures = await self._database.read(monitoring.queue_figures)
            except (DomainError, TimeoutError):
                self._metrics.queue.figures = None
            self._read_at = time.monotonic()


class Checks:
    """What an API process needs to be ready. Without a clock it is, but schedules do not fire."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def examine(self) -> Mapping[str, str | None]:
        """What is wrong, by the name of the check."""
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                await self._database.read(monitoring.reach)
                return {"database": None, **await self._examine_schema()}
        except (DomainError, TimeoutError):
            return {"database": "not reachable", "schema": UNKNOWN, "clock": UNKNOWN}

    async def _examine_schema(self) -> Mapping[str, str | None]:
        try:
            missing = await self._database.read(monitoring.missing_scripts)
            silent = await self._database.read(monitoring.clock_is_silent)
        except DomainError:
            return {"schema": "missing or not readable: run zmesh migrate", "clock": "unknown without the schema"}
        return {
            "schema": "older than this process: run zmesh migrate" if missing else None,
            "clock": "nothing fires schedules: neither pg_cron nor a listener" if silent else None,
        }
