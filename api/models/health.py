"""Health, as HTTP shows it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class Health(BaseModel):
    """Whether the API can work. Without a listener it accepts invocations that nobody runs."""

    status: Literal["ok", "unavailable"]
    database: Literal["ok", "unavailable"]
    listeners: int
    event_loop_held_ms: float = Field(
        description="For how long something held this process at most within the last minute; above 50 it is logged."
    )
    listener_loop_held_ms: int = Field(
        description="The longest of all listeners, of the same kind; 0 where it was 50 ms or less."
    )
