"""How much a project and an API key may ask for: requests a second here, and invocations that wait for a listener.

The limits are rows of the database; each process counts requests by itself, so that counting costs no round trip.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar
from uuid import UUID

from api.batching import Batcher
from api.database import Database
from api.http.problems import Problem
from sql import load
from sql.errors import DomainError
from sql.load import KeyLimit, Load
from support.api_keys import key_hash

FRESH_SECONDS = 1.0
MOST_REMEMBERED = 10_000
QUEUE_RETRY_SECONDS = 5

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Limits:
    """Refuses with 429 what goes beyond. Without the database nothing is refused here: the request fails by itself."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._projects: Recent[UUID, Load] = Recent(self._read_projects)
        self._keys: Recent[bytes, KeyLimit] = Recent(self._read_keys)
        self._buckets: OrderedDict[Hashable, Bucket] = OrderedDict()

    async def admit_request(self, project_id: UUID, key: str | None) -> None:
        """Count one request. Raises Problem 429 for one too many."""
        if key is not None:
            hashed = key_hash(key)
            limit = await self._keys.get(hashed)
            self._count(hashed, limit.requests_per_second if limit else None, "API key")
        project = await self._projects.get(project_id)
        self._count(project_id, project.requests_per_second if project else None, "project")

    async def admit_job(self, project_id: UUID) -> None:
        """Raises Problem 429 where as much waits as may; only what was read within the last second is believed."""
        found = await self._projects.get(project_id)
        if found is None or found.queued < found.max_queued:
            return
        found = await self._projects.get(project_id, fresh=True)
        if found is not None and found.queued >= found.max_queued:
            raise _too_much(
                "queue_full",
                f"{found.max_queued} invocations of this project wait for a listener already.",
                QUEUE_RETRY_SECONDS,
            )

    def _count(self, name: Hashable, rate: int | None, whose: str) -> None:
        if not rate:
            self._buckets.pop(name, None)
            return
        bucket = self._buckets.get(name)
        if bucket is None or bucket.rate != rate:
            bucket = self._buckets[name] = Bucket(rate, float(rate), time.monotonic())
        self._buckets.move_to_end(name)
        if len(self._buckets) > MOST_REMEMBERED:
            self._buckets.popitem(last=False)
        if wait := bucket.take(time.monotonic()):
            raise _too_much("rate_limited", f"This {whose} may send {rate} requests a second.", math.ceil(wait))

    async def _read_projects(self, ids: list[UUID]) -> Sequence[Load | None]:
        found = {one.project_id: one for one in await self._database.read(lambda c: load.loads(c, ids))}
        return [found.get(id) for id in ids]

    async def _read_keys(self, hashes: list[bytes]) -> Sequence[KeyLimit | None]:
        found = {one.hash: one for one in await self._database.read(lambda c: load.key_limits(c, hashes))}
        return [found.get(hash) for hash in hashes]


@dataclass(slots=True)
class Bucket:
    """Fills with `rate` tokens a second and holds as many."""

    rate: int
    tokens: float
    filled_at: float

    def take(self, now: float) -> float:
        """Take one token; returns the seconds until there is one, 0 when it was there."""
        self.tokens = min(float(self.rate), self.tokens + (now - self.filled_at) * self.rate)
        self.filled_at = now
        if self.tokens >= 1:
            self.tokens -= 1
            return 0
        return (1 - self.tokens) / self.rate


class Recent(Generic[Key, Value]):
    """What was read of the database a moment ago. Only the first to ask for something waits for it; later, whoever
    asks for what has aged makes it be read again, for the next ones."""

    def __init__(self, read: Callable[[list[Key]], Awaitable[Sequence[Value | None]]]) -> None:
        self._read: Batcher[Key, Value | None] = Batcher(read)
        self._known: OrderedDict[Key, tuple[float, Value | None]] = OrderedDict()
        self._reading: dict[Key, asyncio.Task[None]] = {}

    async def get(self, key: Key, *, fresh: bool = False) -> Value | None:
        """None for what does not exist, or could not be read."""
        read_at, value = self._known.get(key, (-math.inf, None))
        if time.monotonic() - read_at > FRESH_SECONDS:
            if key not in self._reading:
                self._reading[key] = asyncio.create_task(self._refresh(key))
            if fresh or read_at == -math.inf:
                await asyncio.wait([self._reading[key]])
                _, value = self._known.get(key, (0.0, None))
        return value

    async def _refresh(self, key: Key) -> None:
        try:
            with contextlib.suppress(DomainError):
                self._known[key] = (time.monotonic(), await self._read.ask(key))
                self._known.move_to_end(key)
                if len(self._known) > MOST_REMEMBERED:
                    self._known.popitem(last=False)
        finally:
            del self._reading[key]


def _too_much(code: str, detail: str, seconds: int) -> Problem:
    hint = f"Try again in {seconds} s."
    return Problem(429, code, detail, hint, headers={"Retry-After": str(seconds)})
