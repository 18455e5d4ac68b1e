"""Functions whose runs cannot be forked from a process that has imported their packages: people are told why."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import suppress
from uuid import UUID

from psycopg_pool import AsyncConnectionPool

from listener.postgres import DATABASE_ERRORS, storable
from sandbox import RunOutcome
from sql import builds
from sql.builds import Layer
from sql.listeners import ClaimedInvocation

MOST_REMEMBERED = 10_000


class ForkRefusals:
    """What the database was told under each lease; it is told again only when that changes."""

    def __init__(self, pool: AsyncConnectionPool) -> None:
        self._pool = pool
        self._told: OrderedDict[tuple[UUID, UUID], tuple[str, str]] = OrderedDict()

    async def tell(self, lease: UUID, invocation: ClaimedInvocation, layer: Layer | None, outcome: RunOutcome) -> None:
        """Store the reason if the run was not forked for one, and remove it once runs are forked again."""
        if outcome.packages == "none" or invocation.version < 1:
            return
        key, hash = (lease, invocation.function_id), layer.hash if layer else ""
        reason = storable(outcome.why_imported or "") if outcome.refused else None
        told = None if reason is None else (hash, reason)
        if self._told.get(key) == told:
            return
        with suppress(*DATABASE_ERRORS):  # the next run says it again
            async with self._pool.connection() as connection:
                await builds.tell_fork_refusal(connection, *key, hash, reason)
            self._remember(key, told)

    def _remember(self, key: tuple[UUID, UUID], told: tuple[str, str] | None) -> None:
        self._told.pop(key, None)
        if told is not None:
            self._told[key] = told
        while len(self._told) > MOST_REMEMBERED:
            self._told.popitem(last=False)
