"""A call of a function, and what became of it."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from uuid import UUID

from api.invoking.request_headers import NO_PREFERENCE, Preference
from api.invoking.streams import ResponseStream
from sql.invocations import NO_OPTIONS, AssumedAccess, InvocationState, Options

QUEUE_ALLOWANCE = 20.0
LONGEST_DEFAULT_WAIT = 60.0


@dataclass(frozen=True, slots=True)
class Call:
    """A function and what to invoke it with; `payload` and `request` are JSON texts.

    `streams`: its caller takes a response piece by piece, if it comes so.
    """

    project_id: UUID
    function: str
    timeout_ms: int
    payload: str
    request: str | None = None
    idempotency_key: str | None = None
    idempotency_scope: str | None = None
    traceparent: str | None = None
    preference: Preference = NO_PREFERENCE
    options: Options = NO_OPTIONS
    streams: bool = False
    assumed: AssumedAccess | None = None

    @property
    def wait_seconds(self) -> float:
        if self.preference.wait is not None:
            return self.preference.wait
        if self.is_for_later:
            return 0
        return default_wait(self.timeout_ms)

    @property
    def is_for_later(self) -> bool:
        """Nobody waits for it from the beginning, so it may have several attempts."""
        return self.preference.respond_async or (self.options.run_at is not None and self.preference.wait is None)


class AssumptionFailed(Exception):
    """The call was not accepted, maybe because its caller was let through for what is not so any more."""


@dataclass(frozen=True, slots=True)
class CallResult:
    """The state of the invocation; `replayed` when it was made by an earlier call with the same idempotency key.

    `streaming` is the response that has begun while it runs; its user has to close it.
    """

    state: InvocationState
    replayed: bool
    streaming: ResponseStream | None = None


def default_wait(timeout_ms: int) -> float:
    """How many seconds a caller without a preference waits for a function with this timeout."""
    return min(timeout_ms / 1000 + QUEUE_ALLOWANCE, LONGEST_DEFAULT_WAIT)


def just_queued(id: UUID) -> InvocationState:
    """An invocation that was accepted a moment ago."""
    return InvocationState(id, "queued", None, None, None, None, None, None, None)


def new_id() -> UUID:
    """A UUID that sorts by time of creation (RFC 9562, version 7). Made here, to wait for before it is inserted."""
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(secrets.token_bytes(10))
    value = milliseconds << 80 | random
    value = value & ~(0xF << 76) | 0x7 << 76  # version
    return UUID(int=value & ~(0x3 << 62) | 0x2 << 62)  # variant
