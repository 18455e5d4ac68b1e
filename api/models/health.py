"""Health, as HTTP shows it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel


class Health(BaseModel):
    """Whether the API can work. Without a listener it accepts invocations that nobody runs."""

    status: Literal["ok", "unavailable"]
    database: Literal["ok", "unavailable"]
    listeners: int
