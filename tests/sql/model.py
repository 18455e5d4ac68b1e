"""What the queue should do, in plain Python: the model that tests/sql/test_model.py compares PostgreSQL with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

FINAL = ("success", "error", "timeout", "cancelled")
Lane = tuple[str, str | None]


@dataclass
class Function:
    """A function of the model; `name` is unique over all projects."""

    name: str
    project: str
    max_concurrency: int | None = None
    max_concurrency_per_key: int = 1


@dataclass
class Invocation:
    """One invocation as it should be."""

    id: UUID
    function: Function
    key: str | None
    waited: bool
    priority: int
    max_attempts: int
    run_at: datetime
    expires_at: datetime | None
    status: str = "queued"
    attempt: int = 0
    owner: UUID | None = None
    cancel_requested: bool = False

    @property
    def lane(self) -> Lane:
        return self.function.name, self.key

    def ready(self, now: datetime) -> bool:
        return self.status == "queued" and self.run_at <= now and (self.expires_at is None or self.expires_at > now)

    def has_expired(self, now: datetime) -> bool:
        return self.status == "queued" and self.run_at <= now and not self.ready(now)

    def is_before(self, other: Invocation) -> bool:
        """Whether it comes first in the lane that both are in."""
        same_lane = (self.lane, self.waited) == (other.lane, other.waited)
        return same_lane and (-self.priority, self.run_at) <= (-other.priority, other.run_at)

    def start(self, owner: UUID) -> None:
        self.status, self.owner, self.attempt = "running", owner, self.attempt + 1

    def end(self, status: str) -> bool:
        """Whether that was for good; if not, it is queued again and its `run_at` is the database's choice."""
        final = (
            status in ("success", "cancelled")
            or self.status == "queued"
            or self.attempt >= self.max_attempts
            or self.cancel_requested
        )
        self.status, self.owner = (status if final else "queued"), None
        return final

    def lose(self) -> bool:
        """The same for an attempt whose listener is gone."""
        return self.end("cancelled" if self.cancel_requested else "error")


@dataclass
class Queue:
    """All invocations, and the limits within which they run."""

    max_running: int
    project_limits: dict[str, int]
    functions: list[Function]
    invocations: dict[UUID, Invocation] = field(default_factory=dict)
    keys: dict[tuple[str, str], UUID] = field(default_factory=dict)
    leases: dict[UUID, datetime] = field(default_factory=dict)

    def running(self) -> list[Invocation]:
        return [i for i in self.invocations.values() if i.status == "running"]

    def owned_by(self, listener: UUID) -> list[Invocation]:
        return [i for i in self.running() if i.owner == listener]

    def exceeded(self, grown: Iterable[Invocation]) -> Iterator[str]:
        """The limits that those just started should not have passed; a limit lowered later stops nothing."""
        running = self.running()
        if grown and len(running) > self.max_running:
            yield "platform"
        for one in grown:
            if self._in_project(running, one) > self.project_limits[one.function.project]:
                yield f"project {one.function.project}"
            if not self._function_allows(running, one, 0):
                yield f"function or key {one.lane}"

    def could_start(self, now: datetime) -> list[Invocation]:
        """What is ready, within every limit, and behind nothing that has expired and is not ended yet."""
        running = self.running()
        if len(running) >= self.max_running:
            return []
        return [
            i
            for i in self.invocations.values()
            if i.ready(now)
            and not any(other.has_expired(now) and other.is_before(i) for other in self.invocations.values())
            and self._in_project(running, i) < self.project_limits[i.function.project]
            and self._function_allows(running, i, 1)
        ]

    def in_project(self, project: str) -> int:
        return sum(i.function.project == project for i in self.running())

    @staticmethod
    def _in_project(running: list[Invocation], one: Invocation) -> int:
        return sum(i.function.project == one.function.project for i in running)

    @staticmethod
    def _function_allows(running: list[Invocation], one: Invocation, more: int) -> bool:
        function = one.function
        in_function = sum(i.function is function for i in running)
        in_lane = sum(i.lane == one.lane for i in running)
        return (function.max_concurrency is None or in_function + more <= function.max_concurrency) and (
            one.key is None or in_lane + more <= function.max_concurrency_per_key
        )
