"""Which packages are imported before runs are forked: those that a function declares, else those that its runs
import."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from uuid import UUID

from psycopg_pool import AsyncConnectionPool

from listener.postgres import DATABASE_ERRORS
from sandbox import Preload
from sql import builds
from sql.builds import FunctionImports, Layer
from sql.listeners import ClaimedInvocation

MOST_REMEMBERED = 10_000


class Imports:
    """What is known of the functions that ran here last; the database has it for all listeners."""

    def __init__(self, pool: AsyncConnectionPool) -> None:
        self._pool = pool
        self._known: OrderedDict[tuple[UUID, str], FunctionImports | None] = OrderedDict()

    async def of(self, invocation: ClaimedInvocation, layer: Layer) -> Preload:
        """What to import for a run. Raises psycopg.Error."""
        if invocation.preload:
            return Preload(tuple(invocation.preload))
        key = invocation.function_id, layer.hash
        if key not in self._known:
            async with self._pool.connection() as connection:
                self._remember(key, await builds.imports_of(connection, *key))
        known = self._known[key]
        if known is None:
            return Preload((), str(invocation.function_id))
        return Preload(tuple(known.names), str(invocation.function_id), learn=known.version < invocation.version)

    async def learn(self, invocation: ClaimedInvocation, layer: Layer, imported: Sequence[str]) -> None:
        """Remember what a run has imported, for other listeners and later starts, too."""
        key, version = (invocation.function_id, layer.hash), invocation.version
        known = self._known.get(key)
        if not imported or version < 1 or (known is not None and known.version >= version):
            return
        seen = FunctionImports(version, list(imported))
        self._remember(key, seen)
        with suppress(*DATABASE_ERRORS):  # another listener, or the next start, says it again
            async with self._pool.connection() as connection:
                await builds.learn_imports(connection, *key, seen)

    def _remember(self, key: tuple[UUID, str], known: FunctionImports | None) -> None:
        self._known[key] = known
        self._known.move_to_end(key)
        while len(self._known) > MOST_REMEMBERED:
            self._known.popitem(last=False)
