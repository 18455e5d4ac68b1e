"""Thread pools by purpose: long work of one kind blocks neither an event loop nor work of another kind."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
SHORT_SECONDS = 0.05  # of CPU time


class Busy(Exception):
    """The executor's queue is full."""


class _TakesLong(Exception):
    """A call has used up its time, and begins again among other long ones."""


_calls = threading.local()  # `until`: the CPU time of its thread up to which the current call may go on


def breathe() -> None:
    """Called by long work between its steps, so that it makes room for short calls once it proves to be long."""
    until: float | None = getattr(_calls, "until", None)
    if until is not None and time.thread_time() > until:
        raise _TakesLong


class Executor:
    """The threads for one purpose; they start on the first call."""

    def __init__(
        self, name: str, threads: int, most_waiting: int | None = None, *, at_length: Executor | None = None
    ) -> None:
        """`most_waiting`: how many calls may be running or waiting at once; None means no limit. `at_length`: where
        work that calls breathe() begins again if it takes long; it must have no side effects."""
        self.name = name
        self._at_length = at_length
        self._most_waiting = most_waiting
        self._under_way = 0
        self._counting = threading.Lock()  # calls end in their own threads
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def run(
        self, work: Callable[Arguments, Result], *arguments: Arguments.args, **options: Arguments.kwargs
    ) -> Result:
        """Run a call in a thread. Raises Busy when the queue is full."""
        if self._at_length is None:
            return await self._submit(work, *arguments, **options)
        try:
            return await self._submit(_within_its_time, work, *arguments, **options)
        except _TakesLong:
            return await self._at_length.run(work, *arguments, **options)

    async def _submit(self, work: Callable[..., Result], *arguments: Any, **options: Any) -> Result:
        self._begin()
        future = self._threads.submit(work, *arguments, **options)
        future.add_done_callback(lambda _: self._done())
        try:
            return await asyncio.wrap_future(future)
        finally:
            del future  # an error refers to this frame: with it they form a cycle, which keeps arguments in memory

    def _begin(self) -> None:
        with self._counting:
            if self._most_waiting is not None and self._under_way >= self._most_waiting:
                raise Busy(self.name)
            self._under_way += 1

    def _done(self) -> None:
        with self._counting:
            self._under_way -= 1


def _within_its_time(work: Callable[..., Result], *arguments: Any, **options: Any) -> Result:
    _calls.until = time.thread_time() + SHORT_SECONDS
    try:
        return work(*arguments, **options)
    finally:
        _calls.until = None
