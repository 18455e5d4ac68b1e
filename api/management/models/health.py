"""Health, as HTTP shows it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class Health(BaseModel):
    """Whether the API works. Without a listener it accepts invocations, but they stay queued."""

    status: Literal["ok", "unavailable"]
    database: Literal["ok", "unavailable"]
    listeners: int
    event_loop_held_ms: float = Field(
        description="Longest block of this process's event loop within the last minute, in ms; above 50 it is logged."
    )
    listener_loop_held_ms: int = Field(description="The same, the longest of all listeners; 0 if at most 50 ms.")
