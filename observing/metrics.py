"""Where events become metrics: all metrics of both processes, and the events that change them.

Labels have few values, all from this code: no project, function, user or address, of which anybody can create more and
which would reveal one tenant to another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any, Literal, Protocol

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from observing.events import (
    AttemptEnded,
    AttemptNotStarted,
    AttemptStarted,
    CallbackDelivered,
    CallbackFailed,
    DatabaseFailed,
    DatabaseSessionEnded,
    Event,
    EventLoopBlocked,
    InvocationAccepted,
    InvocationsClaimed,
    InvocationsDropped,
    InvocationsRequeued,
    LeaseLost,
    OutcomeLate,
    OutcomesWritten,
    RequestAnswered,
    RequestRefused,
    SchedulesFired,
)

STATUSES = frozenset({0, *HTTPStatus})  # functions choose theirs, from 200 to 599
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER = "other"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
MEMORY_BYTES = tuple(float(2**n * 2**20) for n in range(4, 14))  # 16 MiB to 8 GiB
BATCH_SIZES = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256)
Parked = Callable[[], Mapping[Literal["python", "node"], int]]
Handler = Callable[[Any], None]

disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """What both processes measure. `observe` is the sink of events. What is read at a scrape is read in a thread."""

    def __init__(self, process: str, version: str) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._gauge("zmesh_info", "Always 1; the labels say what runs.", "process", "version").labels(
            process, version
        ).set(1)
        self._loop_blocks = self._counter(
            "zmesh_event_loop_blocks_total", "Times that the event loop was blocked for longer than 50 ms."
        )
        self._database_errors = self._counter(
            "zmesh_database_errors_total", "Statements that failed or got no connection, by duty.", "duty"
        )
        self._handlers: dict[type[Event], Handler] = {
            EventLoopBlocked: lambda event: self._loop_blocks.inc(),
            DatabaseFailed: lambda event: self._database_errors.labels(event.duty).inc(),
        }

    def observe(self, event: Event) -> None:
        """Count an event."""
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(event)

    @property
    def observed(self) -> frozenset[type[Event]]:
        """The events that change a metric here."""
        return frozenset(self._handlers)

    def watch_loop(self, blocked_ms: Callable[[], float]) -> None:
        """`blocked_ms` returns the longest block of the event loop within the last minute."""
        self._read(
            "zmesh_event_loop_blocked_seconds",
            "Longest block of the event loop within the last minute.",
            lambda: blocked_ms() / 1000,
        )

    def watch_pool(self, stats: Callable[[], Mapping[str, int]]) -> None:
        """`stats` returns the statistics of psycopg's connection pool."""
        self.registry.register(PoolCollector(stats))

    def _counter(self, name: str, help: str, *labels: str) -> Counter:
        return Counter(name, help, labels, registry=self.registry)

    def _gauge(self, name: str, help: str, *labels: str) -> Gauge:
        return Gauge(name, help, labels, registry=self.registry)

    def _histogram(self, name: str, help: str, *labels: str, buckets: tuple[float, ...] = SECONDS) -> Histogram:
        return Histogram(name, help, labels, buckets=buckets, registry=self.registry)

    def _read(self, name: str, help: str, value: Callable[[], float]) -> None:
        """A gauge that is read at each scrape."""
        self._gauge(name, help).set_function(value)


class ApiMetrics(Metrics):
    """What an API process measures in addition."""

    def __init__(self, version: str) -> None:
        super().__init__("api", version)
        self._requests = self._counter(
            "zmesh_http_requests_total",
            "HTTP requests by route, method and status; status 0: the client disconnected.",
            *("route", "method", "status"),
        )
        self._request_seconds = self._histogram(
            "zmesh_http_request_seconds",
            "Time from the headers of a request to the end of its response, by route.",
            "route",
        )
        self._refused = self._counter(
            "zmesh_http_refused_total", "Connections and requests refused before they reached a route.", "code"
        )
        self._accepted = self._counter(
            "zmesh_invocations_accepted_total",
            "Invocations inserted by this process; awaited: a caller waits for the outcome.",
            *("source", "awaited"),
        )
        self.queue = QueueCollector()
        self.registry.register(self.queue)
        self._handlers |= {
            RequestAnswered: self._answered,
            RequestRefused: lambda event: self._refused.labels(event.code).inc(),
            InvocationAccepted: lambda event: self._accepted.labels(event.source, _flag(event.awaited)).inc(),
        }

    def watch_http(self, connections: Callable[[], int], upload_bytes: Callable[[], int]) -> None:
        """`connections` returns the open connections, `upload_bytes` the bytes received for incomplete responses."""
        self._read("zmesh_http_connections", "Open client connections.", connections)
        self._read("zmesh_http_upload_bytes", "Bytes of request bodies in progress.", upload_bytes)

    def watch_calls(self, waiting: Callable[[], int]) -> None:
        """`waiting` returns how many invocations callers wait for here."""
        self._read("zmesh_calls_waiting", "Invocations whose outcome a caller of this process waits for.", waiting)

    def _answered(self, event: RequestAnswered) -> None:
        method = event.method if event.method in METHODS else OTHER
        status = str(event.status) if event.status in STATUSES else OTHER
        self._requests.labels(event.route, method, status).inc()
        self._request_seconds.labels(event.route).observe(event.milliseconds / 1000)


class ListenerMetrics(Metrics):
    """What a listener measures in addition."""

    def __init__(self, version: str) -> None:
        super().__init__("listener", version)
        self._define_attempts()
        self._define_batches()
        self._define_upkeep()
        self._handlers |= {
            AttemptStarted: self._attempt_started,
            AttemptNotStarted: lambda event: self._requeued.labels("not_started").inc(),
            AttemptEnded: self._attempt_ended,
            InvocationsClaimed: self._claimed,
            OutcomesWritten: self._outcomes_written,
            OutcomeLate: lambda event: self._late.inc(),
            InvocationsRequeued: lambda event: self._requeued.labels(event.reason).inc(event.count),
            InvocationsDropped: lambda event: self._dropped.labels(event.reason).inc(event.count),
            LeaseLost: lambda event: self._leases_lost.inc(),
            SchedulesFired: lambda event: self._schedules.inc(event.count),
            CallbackDelivered: self._callback_delivered,
            CallbackFailed: self._callback_failed,
            DatabaseSessionEnded: lambda event: self._sessions_ended.inc(),
        }

    def watch_runs(self, runs: Callable[[], int], slots: int, lease_held: Callable[[], bool]) -> None:
        """`runs` returns the runs in progress, including those in lent slots."""
        self._read("zmesh_runs", "Runs in progress, including those in the slot of their caller.", runs)
        self._gauge("zmesh_slots", "Slots of this listener.").set(slots)
        self._read("zmesh_lease_held", "1 while this listener holds a lease.", lambda: float(lease_held()))

    def watch_sandbox(self, isolation: str, mode: str, node: str, parked: Parked) -> None:
        """`parked` returns the number of processes that wait for a run, by runtime."""
        labels = ("isolation", "mode", "node")
        self._gauge("zmesh_sandbox_info", "Always 1; the labels say how runs are isolated.", *labels).labels(
            isolation, mode, node
        ).set(1)
        self.registry.register(ParkedCollector(parked))

    def _define_attempts(self) -> None:
        self._started = self._counter("zmesh_attempts_started_total", "Attempts started.", "language")
        self._queue_seconds = self._histogram(
            "zmesh_queue_seconds",
            "Time from an invocation's due time to its claim; awaited: a caller waits for the outcome.",
            "awaited",
        )
        self._start_seconds = self._histogram(
            "zmesh_start_seconds",
            "Time from claim to outcome, not counting the time of the function's code.",
            "language",
        )
        self._ended = self._counter("zmesh_attempts_ended_total", "Attempts ended, by status.", *("language", "status"))
        self._seconds = self._histogram("zmesh_attempt_seconds", "Duration of the function's code.", "language")
        self._cpu_seconds = self._counter(
            "zmesh_attempt_cpu_seconds_total", "CPU time of runs, including all their processes.", "language"
        )
        self._memory = self._histogram(
            "zmesh_attempt_memory_bytes", "Peak memory of a run.", "language", buckets=MEMORY_BYTES
        )
        self._limits = self._counter(
            "zmesh_limits_hit_total", "Attempts that ended because of a limit.", *("language", "limit")
        )
        self._faults = self._counter(
            "zmesh_platform_faults_total", "Attempts that failed because of the platform, not the function.", "language"
        )

    def _define_batches(self) -> None:
        self._claim_size = self._histogram(
            "zmesh_claim_size", "Invocations per claim, including claims of none.", buckets=BATCH_SIZES
        )
        self._claim_seconds = self._histogram("zmesh_claim_seconds", "Duration of a claim.")
        self._outcome_batch = self._histogram(
            "zmesh_outcome_batch_size", "Outcomes written by one statement.", buckets=BATCH_SIZES
        )
        self._write_seconds = self._histogram(
            "zmesh_outcome_write_seconds", "Duration of writing outcomes, retries included."
        )
        self._late = self._counter("zmesh_outcomes_late_total", "Outcomes refused because the lease had ended.")

    def _define_upkeep(self) -> None:
        self._requeued = self._counter(
            "zmesh_invocations_requeued_total", "Claimed invocations that went back to the queue.", "reason"
        )
        self._dropped = self._counter(
            "zmesh_invocations_dropped_total", "Queued invocations that ended without a run.", "reason"
        )
        self._leases_lost = self._counter(
            "zmesh_leases_lost_total", "Leases that ended while the listener was running."
        )
        self._schedules = self._counter(
            "zmesh_schedules_fired_total",
            "Schedules fired by this listener; those that pg_cron fires are not counted, but see "
            "zmesh_schedules_overdue_seconds.",
        )
        self._callbacks = self._counter("zmesh_callbacks_total", "Tries to deliver a callback.", "outcome")
        self._callback_seconds = self._histogram("zmesh_callback_seconds", "Duration of a try to deliver a callback.")
        self._sessions_ended = self._counter(
            "zmesh_database_sessions_ended_total", "Database sessions of projects ended because they blocked others."
        )

    def _attempt_started(self, event: AttemptStarted) -> None:
        self._started.labels(event.language).inc()
        self._queue_seconds.labels(_flag(event.awaited)).observe(event.queue_seconds)

    def _attempt_ended(self, event: AttemptEnded) -> None:
        language = event.language
        self._ended.labels(language, event.status).inc()
        self._start_seconds.labels(language).observe(event.start_seconds)
        self._seconds.labels(language).observe(event.seconds)
        self._cpu_seconds.labels(language).inc(event.cpu_seconds)
        self._memory.labels(language).observe(event.memory_bytes)
        if event.limit is not None:
            self._limits.labels(language, event.limit).inc()
        if event.is_fault:
            self._faults.labels(language).inc()

    def _claimed(self, event: InvocationsClaimed) -> None:
        self._claim_size.observe(event.count)
        self._claim_seconds.observe(event.seconds)

    def _outcomes_written(self, event: OutcomesWritten) -> None:
        self._outcome_batch.observe(event.count)
        self._write_seconds.observe(event.seconds)

    def _callback_delivered(self, event: CallbackDelivered) -> None:
        self._callbacks.labels("delivered").inc()
        self._callback_seconds.observe(event.seconds)

    def _callback_failed(self, event: CallbackFailed) -> None:
        self._callbacks.labels("given_up" if event.final else "failed").inc()
        self._callback_seconds.observe(event.seconds)


class QueueFigures(Protocol):
    """What the whole platform has still to do, at one moment."""

    @property
    def ready_awaited(self) -> int: ...

    @property
    def ready_background(self) -> int: ...

    @property
    def delayed(self) -> int: ...

    @property
    def running(self) -> int: ...

    @property
    def oldest_ready_seconds(self) -> float: ...

    @property
    def schedules_overdue_seconds(self) -> float: ...

    @property
    def callbacks_pending(self) -> int: ...

    @property
    def callbacks_overdue_seconds(self) -> float: ...

    @property
    def listeners(self) -> int: ...

    @property
    def slots(self) -> int: ...


class QueueCollector(Collector):
    """The queue as last read; without figures, while the database is unreachable, there are no samples."""

    def __init__(self) -> None:
        self.figures: QueueFigures | None = None

    def collect(self) -> Iterable[Metric]:
        depth = GaugeMetricFamily(
            "zmesh_queue_invocations",
            "Invocations in the queue of the whole platform, counted up to 100,000 of each state.",
            labels=["state"],
        )
        oldest = GaugeMetricFamily(
            "zmesh_queue_oldest_ready_seconds", "How long the oldest ready invocation has waited; 0 if there is none."
        )
        schedules = GaugeMetricFamily(
            "zmesh_schedules_overdue_seconds",
            "How long the most overdue enabled schedule has been due; 0 if none is.",
        )
        callbacks = GaugeMetricFamily(
            "zmesh_callbacks_pending", "Callbacks of the whole platform still to be delivered, counted up to 100,000."
        )
        late = GaugeMetricFamily(
            "zmesh_callbacks_overdue_seconds", "How long the most overdue callback has been due; 0 if none is."
        )
        listeners = GaugeMetricFamily("zmesh_listeners", "Listeners of the whole platform that hold a lease.")
        slots = GaugeMetricFamily("zmesh_listener_slots", "Total slots of these listeners.")
        figures = self.figures
        if figures is not None:
            depth.add_metric(["ready_awaited"], figures.ready_awaited)
            depth.add_metric(["ready_background"], figures.ready_background)
            depth.add_metric(["delayed"], figures.delayed)
            depth.add_metric(["running"], figures.running)
            oldest.add_metric([], figures.oldest_ready_seconds)
            schedules.add_metric([], figures.schedules_overdue_seconds)
            callbacks.add_metric([], figures.callbacks_pending)
            late.add_metric([], figures.callbacks_overdue_seconds)
            listeners.add_metric([], figures.listeners)
            slots.add_metric([], figures.slots)
        return [depth, oldest, schedules, callbacks, late, listeners, slots]


class ParkedCollector(Collector):
    """Confined processes that wait for a run."""

    def __init__(self, parked: Parked) -> None:
        self._parked = parked

    def collect(self) -> Iterable[Metric]:
        found = GaugeMetricFamily("zmesh_parked_processes", "Confined processes waiting for a run.", labels=["runtime"])
        for runtime, count in self._parked().items():
            found.add_metric([runtime], count)
        return [found]


class PoolCollector(Collector):
    """A pool of database connections."""

    def __init__(self, stats: Callable[[], Mapping[str, int]]) -> None:
        self._stats = stats

    def collect(self) -> Iterable[Metric]:
        stats = self._stats()
        size, idle = stats.get("pool_size", 0), stats.get("pool_available", 0)
        connections = GaugeMetricFamily(
            "zmesh_database_pool_connections", "Database connections in the pool.", labels=["state"]
        )
        connections.add_metric(["idle"], idle)
        connections.add_metric(["used"], size - idle)
        waiting = GaugeMetricFamily(
            "zmesh_database_pool_waiting",
            "Tasks waiting for a connection from the pool.",
            stats.get("requests_waiting", 0),
        )
        return [connections, waiting]


def _flag(value: bool) -> str:
    return "true" if value else "false"
