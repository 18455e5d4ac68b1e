"""Schedules as HTTP shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api.http.models import UNSET, Change, FunctionReference, JsonValue, Model, Name, RawJson, Text, raw
from api.invoking.models import Status
from sql.schedules import Schedule, ScheduleRun

Cron = Annotated[
    Text,
    Field(
        min_length=1,
        max_length=200,
        description="Minute, hour, day of month, month, day of week; a macro such as @daily; or 30 seconds.",
    ),
]
Timezone = Annotated[Text, Field(min_length=1, max_length=100, description="IANA name, such as Europe/Berlin.")]
Overlap = Annotated[Literal["skip", "queue"], Field(description="What to do if the previous invocation has not ended.")]
Missed = Annotated[Literal["skip", "once", "all"], Field(description="What to do about missed due times.")]


class ScheduleToCreate(Model):
    """A new schedule."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"function_id": "nightly-report", "cron": "0 3 * * *", "timezone": "Europe/Berlin"}]
        }
    )

    function_id: FunctionReference
    cron: Cron
    name: Name | None = Field(default=None, description="Default: the function's slug and a random suffix.")
    timezone: Timezone = "UTC"
    payload: JsonValue = Field(default_factory=dict, description="Payload of its invocations.")
    overlap: Overlap = "skip"
    missed: Missed = "once"
    enabled: bool = True


class ScheduleChange(Change):
    """What to change of a schedule."""

    function_id: FunctionReference = UNSET
    cron: Cron = UNSET
    name: Name = UNSET
    timezone: Timezone = UNSET
    payload: JsonValue = UNSET
    overlap: Overlap = UNSET
    missed: Missed = UNSET
    enabled: bool = UNSET


class ScheduleDetails(BaseModel):
    """A cron expression that invokes a function."""

    id: UUID
    project_id: UUID
    function_id: UUID
    function: str = Field(description="Slug of the function.")
    name: str
    cron: str
    timezone: str
    payload: RawJson
    overlap: Literal["skip", "queue"]
    missed: Literal["skip", "once", "all"]
    enabled: bool = Field(description="false: it is paused.")
    next_due_at: datetime | None = Field(description="null while it is paused.")
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, schedule: Schedule) -> ScheduleDetails:
        values = {name: getattr(schedule, name) for name in cls.model_fields}
        return cls.model_construct(**{**values, "payload": raw(schedule.payload)})


Outcome = Literal[
    "fired",
    "run_now",
    "skipped_overlap",
    "skipped_missed",
    "skipped_disabled",
    "skipped_paused",
    "skipped_changed",
    "skipped_failed",
]


class ScheduleRunDetails(BaseModel):
    """Outcome of a due time."""

    due_at: datetime
    last_due_at: datetime | None = Field(description="Last due time, if the entry stands for several.")
    outcome: Outcome = Field(description="Fired, run on request, or why it was skipped.")
    error: str | None = Field(description="Why it could not fire; the schedule is then paused.")
    invocation_id: UUID | None
    status: Status | None = Field(description="Status of the invocation; null once its history is deleted.")
    created_at: datetime

    @classmethod
    def of(cls, run: ScheduleRun) -> ScheduleRunDetails:
        return cls.model_construct(**{name: getattr(run, name) for name in cls.model_fields})


class SchedulePreview(BaseModel):
    """Next due times of a cron expression."""

    cron: str
    timezone: str
    due_at: list[datetime]


class ScheduleStarted(BaseModel):
    """A run on request."""

    invocation_id: UUID
