"""Spreads work that arrives all at once over turns of the event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable


class Turns:
    """Does a limited number of things in each turn of the event loop, and the others in the next turns, in order."""

    def __init__(self, each: int) -> None:
        self._each = each
        self._done = 0
        self._waiting: deque[Callable[[], object]] = deque()
        self._counting = False

    def do(self, work: Callable[[], object]) -> None:
        """Do the work now, or in one of the next turns."""
        self._waiting.append(work)
        self._do_some()

    def _do_some(self) -> None:
        if self._waiting and not self._counting:
            self._counting = True  # before any work, which may raise
            asyncio.get_running_loop().call_soon(self._next_turn)
        while self._waiting and self._done < self._each:
            self._done += 1
            self._waiting.popleft()()

    def _next_turn(self) -> None:
        self._done, self._counting = 0, False
        self._do_some()
