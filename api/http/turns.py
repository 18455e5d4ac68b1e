"""Spreads work that arrives all at once over turns of the event loop."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable

MOST_SECONDS = 0.01  # of a turn


class Turns:
    """Does a limited number of things in each turn of the event loop, for a few milliseconds at most, and the rest in
    the next turns. Those of one client stay in order; clients take turns, so that none waits for all of another's."""

    def __init__(self, each: int) -> None:
        self._each = each
        self._done = 0
        self._waiting: OrderedDict[str, deque[Callable[[], object]]] = OrderedDict()  # whose turn is next comes first
        self._counting = False
        self._ends = 0.0

    def do(self, work: Callable[[], object], client: str = "") -> bool:
        """Do the work now and return True, or do it in one of the next turns."""
        self._waiting.setdefault(client, deque()).append(work)
        self._do_some()
        return client not in self._waiting

    def _do_some(self) -> None:
        if self._waiting and not self._counting:
            self._counting = True  # before any work, which may raise
            self._ends = time.perf_counter() + MOST_SECONDS
            asyncio.get_running_loop().call_soon(self._next_turn)
        while self._waiting and self._done < self._each and (self._done == 0 or time.perf_counter() < self._ends):
            self._done += 1
            self._take()()

    def _take(self) -> Callable[[], object]:
        client, works = self._waiting.popitem(last=False)
        work = works.popleft()
        if works:
            self._waiting[client] = works
        return work

    def _next_turn(self) -> None:
        self._done, self._counting = 0, False
        self._do_some()
