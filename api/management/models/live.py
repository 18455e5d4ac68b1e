"""The queue as HTTP shows it."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, Field

from api.invoking.models import Source


class Slots(BaseModel):
    """Slots of all listeners."""

    total: int
    busy: int = Field(description="Those with a run, of whatever project.")


class QueueOfFunction(BaseModel):
    """What a function has in the queue."""

    function_id: UUID
    function: str = Field(description="Slug of the function.")
    max_concurrency: int | None
    queued: int = Field(description="Invocations that are ready to start.")
    delayed: int = Field(description="Invocations that start later: delayed ones, and retries.")
    running: int
    more: bool = Field(
        description="Whether there are more than were counted: 10,000, or fewer where many functions wait."
    )
    oldest_at: datetime | None = Field(description="Time since which the oldest one is ready.")


class RunningDetails(BaseModel):
    """An invocation that runs now."""

    id: UUID
    function_id: UUID
    function: str
    version: int | None
    attempt: int
    source: Source
    started_at: datetime
    timeout_ms: int | None
    listener: str | None


class ListenerDetails(BaseModel):
    """A listener that is alive."""

    id: UUID
    name: str
    started_at: datetime
    slots: int
    running: int = Field(description="Runs, of whatever project.")
    isolation: Literal["full", "reduced"] | None = Field(description="How well runs are isolated; null: unknown.")
    gaps: list[str] = Field(description="What isolation lacks on its machine.")


class QueueDetails(BaseModel):
    """The queue of a project, its runs, and the listeners of the platform."""

    queued: int = Field(description="Invocations that are ready to start, counted up to max_queued.")
    delayed: int
    running: int
    max_running: int
    max_queued: int
    oldest_at: datetime | None
    slots: Slots
    functions: list[QueueOfFunction] = Field(description="Up to 200 functions, those with the most first.")
    running_now: list[RunningDetails] = Field(description="Up to 500 invocations, oldest first.")
    listeners: list[ListenerDetails]
