"""Waiting: for an event or a timeout, and between the rounds of a periodic duty."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from listener.postgres import DATABASE_ERRORS
from observing.events import DatabaseFailed, Duty
from observing.stream import emit


async def wait_and_clear(event: asyncio.Event, seconds: float) -> None:
    """Return when the event is set, or after so many seconds; the event is clear afterwards."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):  # wait_for may swallow a cancellation on Python 3.11
            await event.wait()
    event.clear()


async def every(seconds: float, duty: Duty, act: Callable[[], Awaitable[None]]) -> None:
    """Repeat a duty forever. Database errors are logged: the next round tries again."""
    while True:
        try:
            await act()
        except DATABASE_ERRORS as error:
            emit(DatabaseFailed(duty, str(error).strip()))
        await asyncio.sleep(seconds)
