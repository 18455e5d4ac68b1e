"""Invocations as HTTP shows them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, cast
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api.models.base import RawJson, raw
from sql.callbacks import Callback
from sql.invocations import LogLine, Recorded

Status = Literal["queued", "running", "success", "error", "timeout", "cancelled"]
Level = Literal["debug", "info", "warning", "error"]


class FunctionError(BaseModel):
    """Why a function failed."""

    type: str
    message: str
    stack: str | None


class Envelope(BaseModel):
    """How an invocation ended, or where it stands."""

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


class PrintedLine(BaseModel):
    """A line that a function printed."""

    at: datetime
    level: Level
    message: str


class NumberedLine(PrintedLine):
    """A line, with the attempt that printed it and its number there."""

    attempt: int
    line: int


class InvocationSummary(BaseModel):
    """An invocation in a function's history, with the last lines it printed."""

    id: UUID
    function_id: UUID
    status: Status
    source: Literal["api", "sql", "schedule", "webhook", "function"]
    version: int | None
    attempt: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    duration_ms: int | None
    result: RawJson
    result_truncated: bool = Field(description="Whether the result is left out here, being larger than 64 KiB.")
    error: RawJson
    logs: list[PrintedLine]
    logs_truncated: bool = Field(description="Whether earlier lines are left out here.")
    peak_memory_mb: int | None
    cpu_ms: int | None


class CallbackDetails(BaseModel):
    """Where the delivery of an invocation's end to its callback_url stands."""

    url: str
    status: Literal["waiting", "pending", "delivered", "failed"] = Field(
        description="waiting: the invocation has not ended; pending: it is tried until it is delivered or failed."
    )
    attempts: int
    next_attempt_at: datetime | None
    delivered_at: datetime | None
    last_status_code: int | None
    last_error: str | None


class InvocationDetails(InvocationSummary):
    """An invocation with all that is known about it."""

    function: str
    max_attempts: int
    run_at: datetime
    payload: RawJson
    response: RawJson = Field(description="What zmesh.response() gave: status, headers and body_base64.")
    idempotency_key: str | None
    parent_id: UUID | None = Field(description="The invocation that started this one.")
    depth: int = Field(description="How many invocations wait above this one.")
    traceparent: str = Field(description="W3C trace context, with this invocation as the span.")
    callback: CallbackDetails | None = Field(description="Null where nobody is told of its end.")


def printed(line: LogLine) -> PrintedLine:
    return PrintedLine.model_construct(at=line.at, level=cast(Level, line.level), message=line.message)


def numbered(line: LogLine) -> NumberedLine:
    return NumberedLine.model_construct(
        at=line.at, level=cast(Level, line.level), message=line.message, attempt=line.attempt, line=line.line
    )


def _common(recorded: Recorded, lines: Sequence[LogLine], truncated: bool) -> dict[str, Any]:
    names = (
        "id function_id status source version attempt created_at started_at finished_at duration_ms"
        " peak_memory_mb cpu_ms"
    )
    return {
        **{name: getattr(recorded, name) for name in names.split()},
        "result": raw(recorded.result),
        "result_truncated": bool(recorded.result_truncated),
        "error": raw(recorded.error),
        "logs": [printed(line) for line in lines],
        "logs_truncated": truncated,
    }


def summary(recorded: Recorded, lines: Sequence[LogLine], truncated: bool) -> InvocationSummary:
    return InvocationSummary.model_construct(**_common(recorded, lines, truncated))


def _callback(recorded: Recorded, callback: Callback | None) -> CallbackDetails | None:
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
    recorded: Recorded, lines: Sequence[LogLine], truncated: bool, callback: Callback | None
) -> InvocationDetails:
    return InvocationDetails.model_construct(
        **_common(recorded, lines, truncated),
        function=recorded.function,
        max_attempts=recorded.max_attempts,
        run_at=recorded.run_at,
        payload=raw(recorded.payload),
        response=raw(recorded.response),
        idempotency_key=recorded.idempotency_key,
        parent_id=recorded.parent_id,
        depth=recorded.depth,
        traceparent=recorded.traceparent,
        callback=_callback(recorded, callback),
    )
