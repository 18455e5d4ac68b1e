"""Thread pools by purpose: long work of one kind blocks neither an event loop nor work of another kind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class Busy(Exception):
    """The executor's queue is full."""


class Executor:
    """The threads for one purpose; they start on the first call."""

    def __init__(self, name: str, threads: int, most_waiting: int | None = None) -> None:
        """`most_waiting`: how many calls may be running or waiting at once; None means no limit."""
        self.name = name
        self._most_waiting = most_waiting
        self._under_way = 0
        self._counting = threading.Lock()  # calls end in their own threads
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def run(
        self, work: Callable[Arguments, Result], *arguments: Arguments.args, **options: Arguments.kwargs
    ) -> Result:
        """Run a call in a thread. Raises Busy when the queue is full."""
        self._begin()
        future = self._threads.submit(work, *arguments, **options)
        future.add_done_callback(lambda _: self._done())
        return await asyncio.wrap_future(future)

    def _begin(self) -> None:
        with self._counting:
            if self._most_waiting is not None and self._under_way >= self._most_waiting:
                raise Busy(self.name)
            self._under_way += 1

    def _done(self) -> None:
        with self._counting:
            self._under_way -= 1
