"""A dedicated connection for one duty: what is done for every call waits for no pool and no check query."""

from __future__ import annotations

import select
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from psycopg import AsyncConnection
from psycopg.pq import TransactionStatus

from sql.connecting import KEEPALIVE_OPTIONS, with_required_auth


class OwnConnection:
    """Opened at first use and kept open. Only one task may use it at a time."""

    def __init__(self, database_url: str, duty: str) -> None:
        self._url = database_url
        self._options: dict[str, Any] = {**KEEPALIVE_OPTIONS, "application_name": f"zmesh listener {duty}"}
        self._connection: AsyncConnection | None = None

    @asynccontextmanager
    async def use(self) -> AsyncIterator[AsyncConnection]:
        """The connection, in autocommit mode. If it is left unusable, it is closed, and the next use opens another.

        Raises psycopg.Error, OSError.
        """
        if self._connection is None or not _is_quiet(self._connection):
            await self.close()
            url = self._url
            self._connection = await AsyncConnection.connect(with_required_auth(url), autocommit=True, **self._options)
        connection = self._connection
        try:
            yield connection
        finally:  # after a cancellation, an answer may still be on its way
            if connection.pgconn.transaction_status != TransactionStatus.IDLE:
                await self.close()

    async def close(self) -> None:
        """Close it; it may be used again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


def _is_quiet(connection: AsyncConnection) -> bool:
    """Whether the server has sent nothing since its last answer. What it sends unasked mostly ends the session.

    Noticing that here saves a round trip before each statement, or a failed statement.
    """
    if connection.closed:
        return False
    unread = select.poll()
    unread.register(connection.pgconn.socket, select.POLLIN)
    return not unread.poll(0)
