"""Whether the kernel killed processes for lack of memory, which it reports only in a counter."""

from __future__ import annotations

import time
from pathlib import Path

COUNTERS = Path("/proc/vmstat")  # of the whole host, in containers too
STALE_SECONDS = 1.0


class OomKills:
    """The counter, read rarely, so that no run pays for it."""

    def __init__(self, counters: Path = COUNTERS) -> None:
        self._counters = counters
        self._count = self._read()
        self._read_at = time.monotonic()

    def count(self) -> int:
        """The count, at most STALE_SECONDS old."""
        if time.monotonic() - self._read_at > STALE_SECONDS:
            self._count, self._read_at = self._read(), time.monotonic()
        return self._count

    def any_since(self, count: int) -> bool:
        """Whether it has grown since it was `count`."""
        return self._read() > count

    def _read(self) -> int:
        try:
            lines = self._counters.read_text().splitlines()
        except OSError:
            return 0  # hidden in this container: such an end is then reported as a plain SIGKILL
        return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
