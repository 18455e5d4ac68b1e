"""Writes the ends of attempts: many in one statement, and none is lost while the lease lasts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from sql import jobs
from sql.jobs import Ending

log = logging.getLogger(__name__)
RETRY_SECONDS = 0.5
# Classes of SQLSTATE that say nothing about the values sent: connection, resources, rollback, operator.
PASSING_CLASSES = ("08", "40", "53", "57", "58")
LARGEST_BATCH = 64


class Endings:
    """A queue of endings and the task that writes them."""

    def __init__(self, pool: AsyncConnectionPool, on_written: Callable[[Ending, bool], None]) -> None:
        """`on_written(ending, accepted)` is called for each; False where the lease had gone to another."""
        self._pool = pool
        self._on_written = on_written
        self._waiting: asyncio.Queue[tuple[UUID, Ending]] = asyncio.Queue()

    def put(self, listener: UUID, ending: Ending) -> None:
        """Hand over how an attempt ended that was claimed under this lease."""
        self._waiting.put_nowait((listener, ending))

    async def run(self) -> None:
        """Write what comes, for ever."""
        while True:
            batch = [await self._waiting.get()]
            while not self._waiting.empty() and len(batch) < LARGEST_BATCH:
                batch.append(self._waiting.get_nowait())
            for listener in {listener for listener, _ in batch}:
                await self._write(listener, [ending for owner, ending in batch if owner == listener])

    async def _write(self, listener: UUID, endings: list[Ending]) -> None:
        while True:
            try:
                async with self._pool.connection() as connection:
                    accepted = await jobs.finish(connection, listener, endings)
                break
            except (psycopg.Error, PoolTimeout, UnicodeError) as error:
                if not is_passing(error):
                    await self._write_singly(listener, endings, error)
                    return
                log.warning("writing %d results: %s; trying again", len(endings), str(error).strip())
                await asyncio.sleep(RETRY_SECONDS)
        for ending in endings:
            self._on_written(ending, ending.id in accepted)

    async def _write_singly(self, listener: UUID, endings: list[Ending], error: Exception) -> None:
        """One value that PostgreSQL refuses must not hold up the others, nor be tried for ever."""
        if len(endings) == 1:
            endings = [without_values(endings[0], error)]
            log.warning("result of %s refused by the database: %s", endings[0].id, str(error).strip())
        for ending in endings:
            await self._write(listener, [ending])


def is_passing(error: Exception) -> bool:
    """Whether the same values may well be accepted later."""
    if isinstance(error, UnicodeError):
        return False
    state = getattr(error, "sqlstate", None)
    return state is None or state[:2] in PASSING_CLASSES


def without_values(ending: Ending, error: Exception) -> Ending:
    """The same attempt as an error that PostgreSQL surely accepts."""
    return replace(
        ending,
        status="error",
        result=None,
        response=None,
        logs=[],
        error={
            "type": "invalid_result",
            "message": f"PostgreSQL cannot store what the function returned: {printable(str(error).strip())}",
            "stack": None,
        },
    )


def printable(text: str) -> str:
    """The text without what a PostgreSQL text or jsonb cannot hold: NUL and lone surrogates."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "\N{REPLACEMENT CHARACTER}")
