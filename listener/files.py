"""Files of functions that are folders: read once for each version, and kept while there is room."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from uuid import UUID

from psycopg_pool import AsyncConnectionPool

from sql import listeners
from sql.listeners import ClaimedInvocation

MOST_BYTES = 64 * 1024 * 1024
READ_AT_ONCE = 2  # the pool is also for the claims' neighbours: streams, logs, upkeep
Key = tuple[UUID, int]


class Files:
    """Content of versions, which never changes. What was used longest ago makes room."""

    def __init__(self, pool: AsyncConnectionPool, most_bytes: int = MOST_BYTES) -> None:
        self._pool = pool
        self._most_bytes = most_bytes
        self._known: OrderedDict[Key, bytes] = OrderedDict()
        self._bytes = 0
        self._reading: dict[Key, asyncio.Lock] = {}
        self._free = asyncio.Semaphore(READ_AT_ONCE)

    async def of(self, invocation: ClaimedInvocation) -> bytes | None:
        """The files beside the entry file, as JSON: paths with their content. None: a single file without a path.

        Raises LookupError, psycopg.Error.
        """
        if invocation.entry_file is None:
            return None
        key = (invocation.function_id, invocation.version)
        # Only the first of several runs that begin together reads.
        lock = self._reading.setdefault(key, asyncio.Lock())
        async with lock:
            try:
                return self._cached(key) or self._keep(key, await self._read(key))
            finally:
                self._reading.pop(key, None)

    async def _read(self, key: Key) -> bytes:
        async with self._free, self._pool.connection() as connection:
            found = await listeners.files_of(connection, *key)
        if found is None:
            raise LookupError("the function was deleted")
        return found

    def _cached(self, key: Key) -> bytes | None:
        if key in self._known:
            self._known.move_to_end(key)
        return self._known.get(key)

    def _keep(self, key: Key, files: bytes) -> bytes:
        if key not in self._known:
            self._bytes += len(files)
        self._known[key] = files
        while self._bytes > self._most_bytes:
            _, oldest = self._known.popitem(last=False)
            self._bytes -= len(oldest)
        return files
