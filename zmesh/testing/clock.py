"""A clock that stands still until the test moves it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class Clock:
    """The time of the platform in a test: what due times are computed from. It does not change what `datetime` says."""

    def __init__(self) -> None:
        self._now = datetime.now(UTC)

    @property
    def now(self) -> datetime:
        """The time, with its zone."""
        return self._now

    def set(self, time: datetime) -> None:
        """Go to this time, which needs a time zone."""
        if time.tzinfo is None:
            raise ValueError("the time needs a time zone, such as datetime(2026, 1, 1, tzinfo=UTC)")
        self._now = time

    def advance(self, seconds: float | timedelta) -> None:
        """Go forward by seconds, or by a timedelta."""
        self.set(self._now + (seconds if isinstance(seconds, timedelta) else timedelta(seconds=seconds)))
