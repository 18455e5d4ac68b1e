"""The attempts that run on this listener, and how many more may start."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine
from typing import Any
from uuid import UUID

from sql.listeners import ClaimedInvocation

Attempt = tuple[UUID, int]


class Slots:
    """One slot for each attempt, except those that run in the slot of the caller that waits for them."""

    def __init__(self, count: int, freed: asyncio.Event) -> None:
        """`freed` is set when an attempt leaves its slot while `wake_when_freed` is true."""
        self._count = count
        self._freed = freed
        self.wake_when_freed = True
        self._running: dict[Attempt, asyncio.Event] = {}  # set to stop the run
        self._lent: set[Attempt] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()  # set while nothing runs
        self._idle.set()
        self._closed = False

    @property
    def free(self) -> int:
        """How many invocations may be claimed; functions called by runs here may start in any case."""
        return 0 if self._closed else max(0, self._count - (len(self._running) - len(self._lent)))

    @property
    def used(self) -> int:
        """How many attempts run here."""
        return len(self._running)

    @property
    def invocations(self) -> list[UUID]:
        """The invocations that run here."""
        return [id for id, _ in self._running]

    def start(self, invocation: ClaimedInvocation, work: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
        """Take a slot and start the work, which gets the event that stops it and must release the slot itself."""
        attempt = (invocation.id, invocation.attempt)
        cancel = self._running[attempt] = asyncio.Event()
        if invocation.lent:
            self._lent.add(attempt)
        self._idle.clear()
        task = asyncio.create_task(work(cancel))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def release(self, id: UUID, attempt: int, *, wake: bool) -> None:
        """Free the slot: the outcome is written, or the attempt now belongs to another listener.

        `wake`: claim again in any case, or find out when this one comes due.
        """
        self._running.pop((id, attempt), None)
        self._lent.discard((id, attempt))
        if not self._running:
            self._idle.set()
        if wake or self.wake_when_freed:
            self._freed.set()

    def cancel(self, invocations: Collection[UUID]) -> None:
        """Stop the runs of these invocations."""
        for (id, _), cancel in self._running.items():
            if id in invocations:
                cancel.set()

    async def stop_all(self) -> None:
        """Stop every run and return when all have ended."""
        for cancel in self._running.values():
            cancel.set()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def close(self) -> None:
        """From now on only functions that runs here call may start."""
        self._closed = True

    async def wait_until_idle(self) -> None:
        """Return when nothing is running."""
        await self._idle.wait()
