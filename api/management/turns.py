"""Turns at slow work: a project's requests wait for each other, and for no more than `at_once` of any other project."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID
from weakref import WeakValueDictionary

from api.http.problems import Problem

RETRY_SECONDS = 2


class ProjectTurns:
    """Of each project, some requests work and some wait; more are refused."""

    def __init__(self, code: str, what: str, *, at_once: int, most: int) -> None:
        """`most`: how many of a project may work or wait; `code` and `what`: what the refusal says."""
        self._code = code
        self._what = what
        self._at_once = at_once
        self._most = most
        self._under_way: Counter[UUID] = Counter()
        self._turns: WeakValueDictionary[UUID, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def turn(self, project_id: UUID) -> AsyncIterator[None]:
        """Raises Problem 429 if the project has too many requests in progress."""
        if self._under_way[project_id] >= self._most:
            raise self._refusal()
        self._under_way[project_id] += 1
        try:
            async with self._turns.setdefault(project_id, asyncio.Semaphore(self._at_once)):
                yield
        finally:
            self._under_way[project_id] -= 1
            if not self._under_way[project_id]:
                del self._under_way[project_id]

    def _refusal(self) -> Problem:
        return Problem(
            429,
            self._code,
            f"{self._most} {self._what} of this project are in progress.",
            f"Try again in {RETRY_SECONDS} s.",
            headers={"Retry-After": str(RETRY_SECONDS)},
        )
