"""Every event of API and listener. docs/reference/observability.md lists them, and a test compares the two.

Fields hold what an operator may see: no payload, no result, no secret, no credential.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, cast, get_args
from uuid import UUID

Duty = Literal[
    "queries",
    "replies",
    "queue figures",
    "wake-ups",
    "lease",
    "claims",
    "give-back",
    "outcomes",
    "log lines",
    "streams",
    "callbacks",
    "upkeep",
    "session watch",
    "builds",
    "clock",
]
Limit = Literal[
    "timeout",
    "memory_limit",
    "cpu_limit",
    "process_limit",
    "open_files_limit",
    "file_size_limit",
    "file_lock_limit",
    "workspace_limit",
    "result_too_large",
    "depth_limit",
]
LIMITS: frozenset[str] = frozenset(get_args(Limit))
FAULTS = frozenset({"platform_error", "sandbox_failed"})  # error types for which the function is not to blame
WORD = re.compile("(?<!^)(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in this process."""

    level: ClassVar[int] = logging.INFO

    @classmethod
    def name(cls) -> str:
        """The event's name in logs and documentation, such as attempt_ended."""
        return WORD.sub("_", cls.__name__).lower()

    @property
    def severity(self) -> int:
        """The level at which this event is logged."""
        return self.level

    @property
    def text(self) -> str:
        """One sentence for people."""
        raise NotImplementedError

    @property
    def error_cause(self) -> BaseException | None:
        """The exception whose traceback belongs in the log."""
        return None

    def values(self) -> dict[str, Any]:
        """The fields by name, without exceptions."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in found.items() if not isinstance(value, BaseException)}


# Both processes


@dataclass(frozen=True, slots=True)
class DatabaseFailed(Event):
    """A database statement of one of the process's duties failed, or no connection was available for it."""

    level = logging.WARNING
    duty: Duty
    error: str
    consequence: str = ""

    @property
    def text(self) -> str:
        return f"{self.duty}: {self.error}" + (f"; {self.consequence}" if self.consequence else "")


@dataclass(frozen=True, slots=True)
class EventLoopBlocked(Event):
    """Something kept the event loop from running for longer than 50 ms."""

    level = logging.WARNING
    milliseconds: float
    stacks: str

    @property
    def text(self) -> str:
        return f"event loop blocked for {self.milliseconds:.0f} ms by {self.stacks}"


@dataclass(frozen=True, slots=True)
class CheckFailed(Event):
    """A check of /ready began to fail, or fails for a different reason than before."""

    level = logging.WARNING
    check: str
    reason: str

    @property
    def text(self) -> str:
        return f"check {self.check} failed: {self.reason}"


@dataclass(frozen=True, slots=True)
class ConfigurationWarning(Event):
    """A setting is insecure, or cannot be fully applied."""

    level = logging.WARNING
    variable: str
    problem: str

    @property
    def text(self) -> str:
        return f"{self.variable} {self.problem}"


@dataclass(frozen=True, slots=True)
class InternalError(Event):
    """A fault in the platform itself; the log has the traceback."""

    level = logging.ERROR
    activity: str
    error: BaseException

    @property
    def text(self) -> str:
        return f"internal error in {self.activity}"

    @property
    def error_cause(self) -> BaseException | None:
        return self.error


# The API


@dataclass(frozen=True, slots=True)
class RequestAnswered(Event):
    """An HTTP request was answered, or its client went away (status 0)."""

    method: str
    route: str
    path: str
    status: int
    milliseconds: float

    @property
    def text(self) -> str:
        return f"{self.method} {self.path} {self.status} {self.milliseconds:.1f}ms"


@dataclass(frozen=True, slots=True)
class RequestRefused(Event):
    """A connection or request was refused before it reached a route: too many, too large, too slow, not HTTP."""

    level = logging.DEBUG
    status: int
    code: str

    @property
    def text(self) -> str:
        return f"refused a request: {self.status} {self.code}"


@dataclass(frozen=True, slots=True)
class InvocationAccepted(Event):
    """The API inserted an invocation."""

    level = logging.DEBUG
    invocation_id: UUID
    source: Literal["api", "webhook"]
    awaited: bool

    @property
    def text(self) -> str:
        return f"accepted an invocation ({self.source}, {'awaited' if self.awaited else 'not awaited'})"


@dataclass(frozen=True, slots=True)
class ResponseCutOff(Event):
    """A streamed response ended before it was complete."""

    invocation_id: UUID
    reason: str

    @property
    def text(self) -> str:
        return f"the response was cut off: {self.reason}"


# The listener


@dataclass(frozen=True, slots=True)
class SandboxStarted(Event):
    """The sandbox started with the best isolation that works on this machine."""

    isolation: Literal["full", "reduced"]
    mode: str
    node: Literal["forked", "started"]
    gaps: tuple[str, ...]

    @property
    def text(self) -> str:
        gaps = "".join(f"; {gap}" for gap in self.gaps)
        return f"sandbox: {self.isolation} ({self.mode}), Node.js is {self.node}{gaps}"


@dataclass(frozen=True, slots=True)
class ImageTemplateRefused(Event):
    """Runs import an image's packages by themselves: they cannot be forked from a process that has done so. With a
    `function`, that process would have loaded its code as well."""

    image: str
    language: Literal["javascript", "python"]
    reason: str
    function: str | None = None

    @property
    def text(self) -> str:
        if self.function is not None:
            return f"runs of function {self.function} load their code by themselves: {self.reason}"
        return f"runs import the packages of image {self.image} ({self.language}) by themselves: {self.reason}"


@dataclass(frozen=True, slots=True)
class ListenerRegistered(Event):
    """The listener registered and holds a new lease."""

    listener_id: UUID
    slots: int

    @property
    def text(self) -> str:
        return f"registered as {self.listener_id} with {self.slots} slots"


@dataclass(frozen=True, slots=True)
class ListenerStopping(Event):
    """The listener was asked to stop, and lets its runs finish first."""

    runs: int

    @property
    def text(self) -> str:
        return f"stopping: {self.runs} runs left"


@dataclass(frozen=True, slots=True)
class LeaseLost(Event):
    """The lease ended while the listener was running; its invocations may belong to other listeners by now."""

    level = logging.ERROR
    reason: str
    runs: int

    @property
    def text(self) -> str:
        return f"{self.reason}: stopping {self.runs} runs, whose invocations may belong to another listener"


@dataclass(frozen=True, slots=True)
class InvocationsClaimed(Event):
    """A claim was answered, perhaps with no invocations; lent: those that run in the slot of their caller."""

    level = logging.DEBUG
    count: int
    lent: int
    seconds: float

    @property
    def text(self) -> str:
        return f"claimed {self.count} invocations, {self.lent} of them in lent slots"


@dataclass(frozen=True, slots=True)
class AttemptStarted(Event):
    """An attempt was claimed and passed to the sandbox."""

    level = logging.DEBUG
    invocation_id: UUID
    attempt: int
    language: str
    awaited: bool
    queue_seconds: float

    @property
    def text(self) -> str:
        return f"attempt {self.attempt} started after {self.queue_seconds:.3f} s in the queue"


@dataclass(frozen=True, slots=True)
class AttemptNotStarted(Event):
    """An attempt could not be started, because the database failed; it is queued again."""

    level = logging.WARNING
    invocation_id: UUID
    attempt: int
    error: str

    @property
    def text(self) -> str:
        return f"attempt {self.attempt} not started: {self.error}; it is queued again"


@dataclass(frozen=True, slots=True)
class BuildInterrupted(Event):
    """A build was interrupted through no fault of its own; it is queued again, unless this was its last attempt."""

    level = logging.WARNING
    build_id: UUID
    attempt: int
    error: str

    @property
    def text(self) -> str:
        return f"build {self.build_id} was interrupted in attempt {self.attempt}: {self.error}"


@dataclass(frozen=True, slots=True)
class BuildEnded(Event):
    """A build of packages ended here: succeeded, failed, cancelled, queued again, or lost with the lease."""

    build_id: UUID
    runtime: str
    status: str
    seconds: float

    @property
    def text(self) -> str:
        return f"build {self.build_id} for {self.runtime} {self.status} after {self.seconds:.1f} s"


@dataclass(frozen=True, slots=True)
class AttemptEnded(Event):
    """An attempt ended; error_type is the type of its error, which may be the name of a limit."""

    level = logging.DEBUG
    invocation_id: UUID
    attempt: int
    language: str
    status: str
    error_type: str | None
    start_seconds: float
    seconds: float
    cpu_seconds: float
    memory_bytes: int

    @property
    def limit(self) -> Limit | None:
        """The limit, by the type of the error. An error of that name that a function raises counts as well."""
        return cast(Limit, self.error_type) if self.error_type in LIMITS else None

    @property
    def is_fault(self) -> bool:
        """Whether the platform failed, not the function."""
        return self.error_type in FAULTS

    @property
    def severity(self) -> int:
        return logging.WARNING if self.is_fault else self.level

    @property
    def text(self) -> str:
        error = f" ({self.error_type})" if self.error_type else ""
        return f"attempt {self.attempt} ended in {self.seconds:.3f} s: {self.status}{error}"


@dataclass(frozen=True, slots=True)
class OutcomesWritten(Event):
    """The outcomes of attempts were written in one statement."""

    level = logging.DEBUG
    count: int
    seconds: float

    @property
    def text(self) -> str:
        return f"wrote {self.count} outcomes"


@dataclass(frozen=True, slots=True)
class OutcomeLate(Event):
    """An outcome was refused because the lease of its attempt had ended."""

    level = logging.WARNING
    invocation_id: UUID
    attempt: int

    @property
    def text(self) -> str:
        return f"refused the outcome of attempt {self.attempt}: its lease had ended"


@dataclass(frozen=True, slots=True)
class OutcomeNotStorable(Event):
    """PostgreSQL cannot store what a function returned; the attempt ends with an error instead."""

    level = logging.WARNING
    invocation_id: UUID
    error: str

    @property
    def text(self) -> str:
        return f"PostgreSQL cannot store the outcome: {self.error}"


@dataclass(frozen=True, slots=True)
class InvocationsRequeued(Event):
    """Claimed invocations were requeued: their listener is gone or stopping, or never got the claim's answer."""

    level = logging.WARNING
    count: int
    reason: Literal["listener_lost", "claim_lost", "stopping"]

    @property
    def text(self) -> str:
        return f"requeued {self.count} invocations ({self.reason})"


@dataclass(frozen=True, slots=True)
class InvocationsDropped(Event):
    """Queued invocations ended without a run: expired, or their function was deleted."""

    count: int
    reason: Literal["expired", "function_deleted"]

    @property
    def text(self) -> str:
        return f"ended {self.count} queued invocations without a run ({self.reason})"


@dataclass(frozen=True, slots=True)
class SchedulesFired(Event):
    """This listener fired schedules that were due; those that pg_cron fires cause no event."""

    level = logging.DEBUG
    count: int

    @property
    def text(self) -> str:
        return f"fired {self.count} schedules"


@dataclass(frozen=True, slots=True)
class CallbackDelivered(Event):
    """A receiver accepted a callback."""

    level = logging.DEBUG
    invocation_id: UUID
    attempt: int
    status: int
    seconds: float

    @property
    def text(self) -> str:
        return f"callback delivered on try {self.attempt}: {self.status}"


@dataclass(frozen=True, slots=True)
class CallbackFailed(Event):
    """A try to deliver a callback failed; final: it was the last."""

    invocation_id: UUID
    attempt: int
    error: str
    final: bool
    seconds: float

    @property
    def text(self) -> str:
        return f"callback failed on try {self.attempt}: {self.error}" + ("; giving up" if self.final else "")


@dataclass(frozen=True, slots=True)
class DatabaseSessionEnded(Event):
    """A project's database session blocked the platform or other projects, and was ended."""

    level = logging.WARNING
    description: str

    @property
    def text(self) -> str:
        return f"ended a database session of a project: {self.description}"


@dataclass(frozen=True, slots=True)
class AutovacuumHindered(Event):
    """A project kept autovacuum from its work; description says how, and what was done."""

    level = logging.WARNING
    description: str

    @property
    def text(self) -> str:
        return f"autovacuum: {self.description}"


@dataclass(frozen=True, slots=True)
class AutovacuumBehind(Event):
    """Autovacuum does not keep up with the platform's tables."""

    level = logging.ERROR
    tables: tuple[str, ...]

    @property
    def text(self) -> str:
        return f"autovacuum does not keep up with zmesh.{', zmesh.'.join(self.tables)}: see `zmesh doctor`"
