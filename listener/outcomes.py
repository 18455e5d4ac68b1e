"""Writes the outcomes of attempts, many in one statement; none is lost while the lease lasts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

import psycopg

from listener.connections import OwnConnection
from listener.postgres import is_permanent, is_transient, storable
from observing.events import DatabaseFailed, OutcomeNotStorable, OutcomesWritten
from observing.stream import emit
from sql import listeners
from sql.listeners import AttemptOutcome

RETRY_SECONDS = 0.5
# An error that persists for this long is blamed on the values too: one outcome must not block all others forever.
UNEXPLAINED_SECONDS = 60.0
LARGEST_BATCH = 64
LARGEST_BYTES = 4 * 1024 * 1024
ESCAPED = 6  # bytes of a control character in JSON


class OutcomeWriter:
    """A queue of outcomes and the task that writes them."""

    def __init__(self, database_url: str, on_written: Callable[[AttemptOutcome, bool], None]) -> None:
        """`on_written(outcome, accepted)` is called for each; `accepted` is False if the lease had passed on."""
        self._connection = OwnConnection(database_url, "outcomes")
        self._on_written = on_written
        self._waiting: asyncio.Queue[tuple[UUID, AttemptOutcome]] = asyncio.Queue()

    def put(self, lease: UUID, outcome: AttemptOutcome) -> None:
        """Queue the outcome of an attempt that was claimed under this lease."""
        self._waiting.put_nowait((lease, outcome))

    async def run(self) -> None:
        """Write outcomes as they arrive, forever."""
        try:
            while True:
                await self._write_next()
        finally:
            await self._connection.close()

    async def _write_next(self) -> None:
        batch = [await self._waiting.get()]
        left = LARGEST_BYTES - _size(batch[0][1])
        while not self._waiting.empty() and len(batch) < LARGEST_BATCH and left > 0:
            batch.append(self._waiting.get_nowait())
            left -= _size(batch[-1][1])
        for lease in {lease for lease, _ in batch}:
            await self._write(lease, [outcome for owner, outcome in batch if owner == lease])

    async def _write(self, lease: UUID, outcomes: list[AttemptOutcome]) -> None:
        began, stripped = time.monotonic(), False
        while True:
            try:
                async with self._connection.use() as connection:
                    accepted = await listeners.finish(connection, lease, outcomes)
                break
            except (psycopg.Error, OSError, UnicodeError) as error:
                if is_transient(error) or (not is_permanent(error) and time.monotonic() - began < UNEXPLAINED_SECONDS):
                    emit(DatabaseFailed("outcomes", str(error).strip(), "trying again"))
                    await asyncio.sleep(RETRY_SECONDS)
                elif len(outcomes) > 1:  # one must not block the others
                    for outcome in outcomes:
                        await self._write(lease, [outcome])
                    return
                else:
                    emit(OutcomeNotStorable(outcomes[0].id, str(error).strip()))
                    if stripped:
                        await asyncio.sleep(RETRY_SECONDS)
                    outcomes, stripped = [without_values(outcomes[0], error)], True
        emit(OutcomesWritten(len(outcomes), time.monotonic() - began))
        for outcome in outcomes:
            self._on_written(outcome, outcome.id in accepted)


def _size(outcome: AttemptOutcome) -> int:
    """Roughly how many bytes it adds to a statement, at most."""
    body = outcome.response.get("body_base64") if outcome.response else None
    error = outcome.error or {}
    texts = [*(line["message"] for line in outcome.logs), error.get("message"), error.get("stack")]
    return len(outcome.result or "") + len(body or "") + ESCAPED * sum(len(text or "") for text in texts)


def without_values(outcome: AttemptOutcome, error: Exception) -> AttemptOutcome:
    """The same attempt with an error that PostgreSQL is certain to accept."""
    return replace(
        outcome,
        status="error",
        result=None,
        response=None,
        logs=[],
        error={
            "type": "invalid_result",
            "message": f"PostgreSQL cannot store what the function returned: {storable(str(error).strip())}",
            "stack": None,
        },
    )
