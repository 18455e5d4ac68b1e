"""Throttling of failed attempts. Each process counts failures by itself and forgets them after a minute."""

from __future__ import annotations

import math
import time
from collections import OrderedDict, deque

from api.http.problems import Problem

WINDOW_SECONDS = 60.0
REMEMBERED = 10_000


class Throttle:
    """Allows a number of failed attempts per minute and name; further ones have to wait."""

    def __init__(self, allowed: int, what: str) -> None:
        self._allowed = allowed
        self._what = what
        self._attempts: OrderedDict[str, deque[float]] = OrderedDict()

    def begin(self, name: str) -> None:
        """An attempt counts as failed until it succeeded, so that many at once are not more than many in a row.
        Raises Problem 429."""
        self.check(name)
        times = self._attempts.setdefault(name, deque(maxlen=self._allowed))
        times.append(time.monotonic())
        self._attempts.move_to_end(name)
        while len(self._attempts) > REMEMBERED:
            self._attempts.popitem(last=False)

    def succeeded(self, name: str) -> None:
        """Do not count the last attempt."""
        if times := self._attempts.get(name):
            times.pop()

    def check(self, name: str) -> None:
        """Raises Problem 429 where no attempt is left."""
        times = self._attempts.get(name)
        if times is None:
            return
        now = time.monotonic()
        while times and now - times[0] > WINDOW_SECONDS:
            times.popleft()
        if len(times) >= self._allowed:
            wait = max(1, math.ceil(times[0] + WINDOW_SECONDS - now))
            raise Problem(
                429,
                "too_many_attempts",
                f"Too many {self._what}.",
                f"Try again in {wait} seconds.",
                headers={"Retry-After": str(wait)},
            )
