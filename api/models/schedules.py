"""Schedules as HTTP shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api.models.base import LEFT_OUT, Change, JsonValue, Model, Name, RawJson, Text, raw
from sql.schedules import Schedule

Cron = Annotated[
    Text,
    Field(
        min_length=1,
        max_length=200,
        description="Minute, hour, day of month, month, day of week; or a macro such as @daily.",
    ),
]
Timezone = Annotated[Text, Field(min_length=1, max_length=100, description="IANA name, such as Europe/Berlin.")]
FunctionReference = Annotated[Text, Field(min_length=1, max_length=100, description="Id or slug of the function.")]
Overlap = Annotated[
    Literal["skip", "queue"], Field(description="What to do while the invocation before has not ended.")
]
Missed = Annotated[
    Literal["skip", "once", "all"], Field(description="What to do about due times that passed without a clock.")
]


class ScheduleToCreate(Model):
    """A new schedule."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"function_id": "nightly-report", "cron": "0 3 * * *", "timezone": "Europe/Berlin"}]
        }
    )

    function_id: FunctionReference
    cron: Cron
    name: Name | None = Field(default=None, description="Left out: the function's slug and a few random letters.")
    timezone: Timezone = "UTC"
    payload: JsonValue = Field(default_factory=dict, description="What the function is invoked with.")
    overlap: Overlap = "skip"
    missed: Missed = "once"
    enabled: bool = True


class ScheduleChange(Change):
    """What to change of a schedule."""

    function_id: FunctionReference = LEFT_OUT
    cron: Cron = LEFT_OUT
    name: Name = LEFT_OUT
    timezone: Timezone = LEFT_OUT
    payload: JsonValue = LEFT_OUT
    overlap: Overlap = LEFT_OUT
    missed: Missed = LEFT_OUT
    enabled: bool = LEFT_OUT


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
    enabled: bool
    next_due_at: datetime | None
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, schedule: Schedule) -> ScheduleDetails:
        values = {name: getattr(schedule, name) for name in cls.model_fields}
        return cls.model_construct(**{**values, "payload": raw(schedule.payload)})
