"""Writes the ends of attempts: many in one statement, and none is lost while the lease lasts."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from sql import jobs
from sql.jobs import AttemptOutcome

log = logging.getLogger(__name__)
RETRY_SECONDS = 0.5
# Classes of SQLSTATE that blame the values sent: cardinality, data, constraints, limits of the program.
REFUSING_CLASSES = ("21", "22", "23", "54")
# Those that blame the time or the place: connection, state of the server, login, rollback, resources, operator, system.
PASSING_CLASSES = ("08", "25", "28", "40", "53", "57", "58")
# Whatever else goes wrong for so long is blamed on the values as well: one must not hold up all others for ever.
UNEXPLAINED_SECONDS = 60.0
LARGEST_BATCH = 64
LARGEST_BYTES = 16 * 1024 * 1024


class Endings:
    """A queue of endings and the task that writes them."""

    def __init__(self, pool: AsyncConnectionPool, on_written: Callable[[AttemptOutcome, bool], None]) -> None:
        """`on_written(ending, accepted)` is called for each; False where the lease had gone to another."""
        self._pool = pool
        self._on_written = on_written
        self._waiting: asyncio.Queue[tuple[UUID, AttemptOutcome]] = asyncio.Queue()

    def put(self, listener: UUID, ending: AttemptOutcome) -> None:
        """Hand over how an attempt ended that was claimed under this lease."""
        self._waiting.put_nowait((listener, ending))

    async def run(self) -> None:
        """Write what comes, for ever."""
        while True:
            batch = [await self._waiting.get()]
            left = LARGEST_BYTES - _size(batch[0][1])
            while not self._waiting.empty() and len(batch) < LARGEST_BATCH and left > 0:
                batch.append(self._waiting.get_nowait())
                left -= _size(batch[-1][1])
            for listener in {listener for listener, _ in batch}:
                await self._write(listener, [ending for owner, ending in batch if owner == listener])

    async def _write(self, listener: UUID, endings: list[AttemptOutcome]) -> None:
        blamed_at, stripped = time.monotonic() + UNEXPLAINED_SECONDS, False
        while True:
            try:
                async with self._pool.connection() as connection:
                    accepted = await jobs.finish(connection, listener, endings)
                break
            except (psycopg.Error, PoolTimeout, UnicodeError) as error:
                if is_passing(error) or (not blames_values(error) and time.monotonic() < blamed_at):
                    log.warning("writing %d results: %s; trying again", len(endings), str(error).strip())
                    await asyncio.sleep(RETRY_SECONDS)
                elif len(endings) > 1:  # one must not hold up the others
                    for ending in endings:
                        await self._write(listener, [ending])
                    return
                else:
                    log.warning("result of %s refused by the database: %s", endings[0].id, str(error).strip())
                    if stripped:
                        await asyncio.sleep(RETRY_SECONDS)
                    endings, stripped = [without_values(endings[0], error)], True
        for ending in endings:
            self._on_written(ending, ending.id in accepted)


def blames_values(error: Exception) -> bool:
    """Whether the same values are surely refused again, by the server or by the driver."""
    return isinstance(error, (UnicodeError, psycopg.DataError)) or _class_of(error) in REFUSING_CLASSES


def is_passing(error: Exception) -> bool:
    """Whether the same values may well be accepted later: so it is, too, where the server did not even answer."""
    unanswered = isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)) and not _class_of(error)
    return unanswered or _class_of(error) in PASSING_CLASSES


def _class_of(error: Exception) -> str:
    """The class of the SQLSTATE; empty where there is none."""
    return (getattr(error, "sqlstate", None) or "")[:2]


def _size(ending: AttemptOutcome) -> int:
    """About how many bytes it adds to a statement."""
    body = ending.response.get("body_base64") if ending.response else None
    return len(ending.result or "") + len(body or "")


def without_values(ending: AttemptOutcome, error: Exception) -> AttemptOutcome:
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
