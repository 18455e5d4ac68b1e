"""Turns of runs that nobody waits for: while others are waited for, only a few begin at once.

Otherwise all slots would want the processors at the same time, and whoever waits would get a small share of them.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

AFTER_CALL_SECONDS = 1.0  # after a run that somebody waits for has begun, the next one is likely to come
# A short run has ended by then. A longer one may be waiting for something, and the processors are for the next.
TURN_SECONDS = 0.01  # on a processor; longer by the clock where many want the processors
MOST_CHECKS = 10
LEAST_SEEN = 2_000_000  # nanoseconds
SCHEDULED = Path("/proc/thread-self/schedstat")


class Turns:
    """A run has its turn until it ends, or until it has had enough of a processor to end if it was short."""

    def __init__(self, most: int | None = None) -> None:
        """At most so many at once; without a number, half as many as there are processors."""
        self._free = asyncio.Semaphore(most or max(1, len(os.sched_getaffinity(0)) // 2))
        self._share = ProcessorShare()
        self._needed_until = 0.0

    def somebody_waits(self) -> None:
        """A run begins that somebody waits for."""
        self._needed_until = asyncio.get_running_loop().time() + AFTER_CALL_SECONDS

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[None]:
        """A turn, in the order of asking; at once where nobody waits. It may end before the block does."""
        if asyncio.get_running_loop().time() >= self._needed_until:
            yield
            return
        await self._free.acquire()
        turn = _Turn(self._free, self._share)
        try:
            yield
        finally:
            turn.end()


class _Turn:
    def __init__(self, free: asyncio.Semaphore, share: ProcessorShare) -> None:
        self._free = free
        self._share = share
        self._checks = 0
        self._left = TURN_SECONDS
        self._is_over = False
        self._wait()

    def end(self) -> None:
        self._next_check.cancel()
        if not self._is_over:
            self._is_over = True
            self._free.release()

    def _wait(self) -> None:
        self._next_check = asyncio.get_running_loop().call_later(TURN_SECONDS, self._check)

    def _check(self) -> None:
        self._checks += 1
        self._left -= TURN_SECONDS * self._share.now()
        if self._checks < MOST_CHECKS and self._left > TURN_SECONDS / 10:
            self._wait()
        else:
            self.end()


class ProcessorShare:
    """How much of the time for which this thread wants a processor it has one. A run's will be about the same."""

    def __init__(self) -> None:
        self._last = _scheduled()
        self._share = 1.0

    def now(self) -> float:
        """From 0 to 1; 1 on an idle machine, and where the kernel does not tell."""
        seen = _scheduled()
        ran, waited = seen[0] - self._last[0], seen[1] - self._last[1]
        if ran + waited >= LEAST_SEEN:
            self._last = seen
            self._share = (self._share + ran / (ran + waited)) / 2
        return self._share


def _scheduled() -> tuple[int, int]:
    """For how many nanoseconds this thread has run, and has waited for a processor."""
    with suppress(OSError, ValueError):
        ran, waited, _ = map(int, SCHEDULED.read_text().split())
        return ran, waited
    return 0, 0
