"""Invocations as HTTP shows them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, cast
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api.http.models import Id, Model, RawJson, Text, Time, raw
from sql.callbacks import Callback
from sql.history import Complete, Recorded, StoredLogLine

Status = Literal["queued", "running", "success", "error", "timeout", "cancelled"]
Source = Literal["api", "sql", "schedule", "webhook", "change", "function"]
Level = Literal["debug", "info", "warning", "error"]


class FunctionError(BaseModel):
    """Why a function failed."""

    type: str
    message: str
    stack: str | None


class LogLine(BaseModel):
    """A line that a run printed."""

    at: datetime
    level: Level
    message: str


class ChangedTable(BaseModel):
    """A table that a dry run wrote to, with how many rows it wrote."""

    table: str = Field(description="Its name, with the schema unless that is the project's.")
    inserted: int
    updated: int
    deleted: int
    listed: bool = Field(description="Whether `rows` has them; else it was too large, or may not be read.")


class ChangedRow(BaseModel):
    """A row before and after."""

    table: str
    operation: Literal["insert", "update", "delete"]
    old: dict[str, Any] | None
    new: dict[str, Any] | None


class Changes(BaseModel):
    """Changes of the database that a dry run would have made."""

    tables: list[ChangedTable]
    rows: list[ChangedRow] = Field(description='At most 100. One that is too large is {"too_large": true}.')
    truncated: bool = Field(description="Whether there were more rows.")
    note: str | None = Field(description="Why nothing can be told.")


class Envelope(BaseModel):
    """The outcome of an invocation, or its current status."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "status": "success",
                    "result": {"message": "Welcome Rahul"},
                    "error": None,
                    "duration_ms": 230,
                    "invocation_id": "0198c6d1-7f3a-7cc4-9d2e-5b1f0a6e4c11",
                    "version": 3,
                }
            ]
        }
    )

    status: Status
    result: RawJson
    error: FunctionError | None
    duration_ms: int | None
    invocation_id: UUID
    version: int | None
    logs: list[LogLine] = Field(default_factory=list, description="Of a dry run: the first 1000 lines that it printed.")
    changes: Changes | None = Field(
        default=None, description="Of a dry run that has ended: what it would have changed."
    )


class NumberedLogLine(LogLine):
    """A log line with its attempt and its number there."""

    attempt: int
    line: int


class EarlierAttempt(BaseModel):
    """Outcome of an attempt that was followed by another one."""

    attempt: int
    status: Status
    error: FunctionError | None
    version: int | None
    started_at: datetime | None
    finished_at: datetime | None
    duration_ms: int | None
    cpu_ms: int | None
    peak_memory_mb: int | None


class InvocationSummary(BaseModel):
    """An invocation in a list, with its last log lines."""

    id: UUID
    function_id: UUID
    function: str = Field(description="Slug of the function.")
    status: Status
    source: Source
    version: int | None
    alias: str | None = Field(description="The alias that chose the version.")
    attempt: int
    max_attempts: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    queue_ms: float | None = Field(description="Time from when it was ready until a listener claimed it.")
    start_ms: float | None = Field(description="Time of the platform beside the run itself.")
    duration_ms: int | None
    result: RawJson
    result_truncated: bool = Field(description="Whether the result is omitted here because it exceeds 64 KiB.")
    error: RawJson
    logs: list[LogLine]
    logs_truncated: bool = Field(description="Whether earlier lines are omitted here.")
    peak_memory_mb: int | None
    cpu_ms: int | None


class CallbackDetails(BaseModel):
    """Delivery of an invocation's outcome to its callback_url."""

    url: str
    status: Literal["waiting", "pending", "delivered", "failed"] = Field(
        description="waiting: the invocation has not ended; pending: it is attempted until it is delivered or failed."
    )
    attempts: int
    next_attempt_at: datetime | None
    delivered_at: datetime | None
    last_status_code: int | None
    last_error: str | None


class InvocationDetails(InvocationSummary):
    """An invocation with all its details."""

    run_at: datetime
    expires_at: datetime | None
    priority: int
    pinned: bool = Field(description="Whether every attempt runs this version.")
    cancel_requested: bool
    payload: RawJson
    response: RawJson = Field(description="Response made by zmesh.response(): status, headers and body_base64.")
    earlier_attempts: list[EarlierAttempt] = Field(description="Outcomes of the attempts before the last one.")
    idempotency_key: str | None
    concurrency_key: str | None
    schedule_id: UUID | None
    parent_id: UUID | None = Field(description="The invocation that started this one.")
    depth: int = Field(description="Number of invocations that wait for this one, directly or indirectly.")
    traceparent: str = Field(description="W3C trace context, with this invocation as the span.")
    callback: CallbackDetails | None = Field(description="Null if it has no callback_url.")
    not_forked_because: str | None = Field(
        description="Why the run imported the function's packages, or executed its top-level code, by itself instead "
        "of being forked from a process that has done so. Null: it did not have to, or it was the first one."
    )


class RetryRequest(Model):
    """Invocations to retry: these, or all failed ones that match the other fields."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"function": "send-welcome", "error": "connection"}]})

    ids: Annotated[list[Id], Field(min_length=1, max_length=1000)] | None = None
    function: Text | None = Field(default=None, max_length=100, description="Id or slug of the function.")
    status: Literal["error", "timeout"] | None = None
    source: Source | None = None
    version: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    created_after: Time | None = None
    created_before: Time | None = None
    error: Text | None = Field(default=None, min_length=1, max_length=200, description="A part of the error's text.")
    limit: int = Field(default=1000, ge=1, le=1000)
    cursor: Text | None = Field(default=None, max_length=500, description="next_cursor of the previous response.")


class Retried(BaseModel):
    """The retried invocations; with a cursor there may be more."""

    items: list[UUID]
    next_cursor: str | None


def log_line_of(line: StoredLogLine) -> LogLine:
    return LogLine.model_construct(at=line.at, level=cast(Level, line.level), message=line.message)


def numbered_log_line_of(line: StoredLogLine) -> NumberedLogLine:
    return NumberedLogLine.model_construct(
        at=line.at, level=cast(Level, line.level), message=line.message, attempt=line.attempt, line=line.line
    )


_PLAIN = (
    *("id", "function_id", "function", "status", "source", "version", "alias", "attempt", "max_attempts", "created_at"),
    *("started_at", "finished_at", "queue_ms", "start_ms", "duration_ms", "peak_memory_mb", "cpu_ms"),
)
_PLAIN_DETAILS = (
    *("run_at", "expires_at", "priority", "pinned", "cancel_requested", "idempotency_key", "concurrency_key"),
    *("schedule_id", "parent_id", "depth", "traceparent", "not_forked_because"),
)


def _common(recorded: Recorded, lines: Sequence[StoredLogLine], truncated: bool) -> dict[str, Any]:
    return {
        **{name: getattr(recorded, name) for name in _PLAIN},
        "result": raw(recorded.result),
        "result_truncated": bool(recorded.result_truncated),
        "error": raw(recorded.error),
        "logs": [log_line_of(line) for line in lines],
        "logs_truncated": truncated,
    }


def summary(recorded: Recorded, lines: Sequence[StoredLogLine], truncated: bool) -> InvocationSummary:
    return InvocationSummary.model_construct(**_common(recorded, lines, truncated))


def _callback(recorded: Complete, callback: Callback | None) -> CallbackDetails | None:
    if callback is not None:
        return CallbackDetails.model_construct(**{n: getattr(callback, n) for n in CallbackDetails.model_fields})
    if recorded.callback_url is None:
        return None
    return CallbackDetails(
        url=recorded.callback_url,
        status="waiting",
        attempts=0,
        next_attempt_at=None,
        delivered_at=None,
        last_status_code=None,
        last_error=None,
    )


def details(
    recorded: Complete, lines: Sequence[StoredLogLine], truncated: bool, callback: Callback | None
) -> InvocationDetails:
    values = {
        **_common(recorded, lines, truncated),
        **{name: getattr(recorded, name) for name in _PLAIN_DETAILS},
        "payload": raw(recorded.payload),
        "response": raw(recorded.response),
        "earlier_attempts": raw(recorded.earlier_attempts or "[]"),
        "callback": _callback(recorded, callback),
    }
    return InvocationDetails.model_construct(**values)
