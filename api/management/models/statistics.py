"""Figures of functions and projects as HTTP shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, Field

from api.management.models.functions import DeployedBy, Language


class Percentiles(BaseModel):
    """Percentiles, to within 26 percent of the exact value."""

    p50: float
    p95: float
    p99: float


class Figures(BaseModel):
    """Calls by outcome, and how long they took; percentiles are null where nothing ran."""

    success: int
    error: int
    timeout: int
    cancelled: int
    duration_ms: Percentiles | None = Field(description="Duration of runs.")
    queue_ms: Percentiles | None = Field(description="Time from when an invocation was ready until it was claimed.")
    start_ms: Percentiles | None = Field(description="Time of the platform beside the run itself.")
    peak_memory_mb: Percentiles | None


class Point(Figures):
    """Figures of the calls that ended in a step."""

    at: datetime = Field(description="Where the step begins.")


class VersionFigures(Figures):
    """Figures of the calls of a version."""

    version: int = Field(description="0: calls that ended before a version was chosen.")


class DeploymentTime(BaseModel):
    """When a version went live."""

    version: int
    at: datetime
    deployed_by: DeployedBy


class ProjectStatistics(BaseModel):
    """Figures of a project."""

    since: datetime
    until: datetime
    step: int = Field(description="Seconds.")
    points: list[Point] = Field(description="Every step, oldest first.")
    total: Figures


class FunctionStatistics(ProjectStatistics):
    """Figures of a function."""

    versions: list[VersionFigures] = Field(description="Newest first.")
    deployments: list[DeploymentTime] = Field(description="Versions that went live in this time, latest first.")


Source = Literal["api", "change", "function", "schedule", "sql", "webhook"]


class LastHour(BaseModel):
    """Calls of the last 60 minutes."""

    calls: int
    errors: int = Field(description="Errors and timeouts.")
    series: list[int] = Field(description="Calls by minute, oldest first.")
    error_series: list[int] = Field(description="Errors and timeouts by minute, oldest first.")
    duration_ms: Percentiles | None = Field(description="Duration of runs; null where nothing ran.")


class FunctionSummary(BaseModel):
    """A function with the figures of its last hour."""

    id: UUID
    slug: str
    name: str
    language: Language
    enabled: bool
    version: int
    description: str
    tags: list[str]
    deployed_at: datetime = Field(description="When its current version went live.")
    deployed_by: DeployedBy
    updated_at: datetime
    called_by: list[Source] = Field(
        description="Its schedules and webhooks, where it has any that are enabled, and what started the latest of its "
        "invocations that ended within a day."
    )
    last_hour: LastHour


class ErrorKindDetails(BaseModel):
    """Errors whose types are equal and whose messages differ in numbers, ids and quoted parts only."""

    fingerprint: UUID = Field(description="Zero: errors of further kinds, beyond 100 in an hour.")
    type: str
    message: str = Field(description="Message of the last one.")
    calls: int
    first_at: datetime
    last_at: datetime
    versions: list[int]
    last_invocation_id: UUID


class ErrorKinds(BaseModel):
    """The most frequent kinds of errors."""

    items: list[ErrorKindDetails]
    next_cursor: None = None


class UsagePoint(BaseModel):
    """What the calls that ended in a step took together."""

    at: datetime
    calls: int
    run_ms: int = Field(description="Sum of the durations of runs.")
    cpu_ms: int


class ProjectLimitsDetails(BaseModel):
    """What the project may have, and how much of it there is."""

    max_running: int
    max_queued: int
    requests_per_second: int | None = Field(description="Of each API process; null: no limit.")
    max_schedules: int
    retention_days: int
    functions: int
    schedules: int
    webhooks: int
    keys: int = Field(description="API keys that are not revoked.")
    members: int


class Usage(BaseModel):
    """What a project uses."""

    since: datetime
    until: datetime
    step: int = Field(description="Seconds.")
    points: list[UsagePoint] = Field(description="Steps with calls, oldest first.")
    limits: ProjectLimitsDetails
