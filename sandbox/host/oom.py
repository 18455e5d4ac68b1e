"""Whether the kernel killed processes for lack of memory, which it reports only in a counter."""

from __future__ import annotations

import time
from pathlib import Path

COUNTERS = Path("/proc/vmstat")  # of the whole host, in containers too
STALE_SECONDS = 1.0


class OomKills:
    """The counter, read seldom: no run pays for it."""

    def __init__(self, counters: Path = COUNTERS) -> None:
        self._counters = counters
        self._count = self._read()
        self._read_at = time.monotonic()

    def count(self) -> int:
        """As of now, or of at most STALE_SECONDS ago."""
        if time.monotonic() - self._read_at > STALE_SECONDS:
            self._count, self._read_at = self._read(), time.monotonic()
        return self._count

    def any_since(self, count: int) -> bool:
        """Whether there was one since `count` was told."""
        return self._read() > count

    def _read(self) -> int:
        try:
            lines = self._counters.read_text().splitlines()
        except OSError:
            return 0  # hidden in this container: such an end is then reported as an ordinary SIGKILL
        return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
