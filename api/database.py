"""The API's database connections: a pool that survives restarts of the server, and errors as DomainError."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from uuid import UUID
from weakref import WeakValueDictionary

import psycopg
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from observing.events import DatabaseFailed
from observing.stream import emit
from sql.connecting import KEEPALIVE_OPTIONS, with_required_auth
from sql.errors import Unavailable, domain_error

Result = TypeVar("Result")
Query = Callable[[AsyncConnection], Awaitable[Result]]
POOL_SIZE = 8
WAIT_SECONDS = 3.0
# Changes wait for one another, in the database and with a connection in hand: they leave some to calls and sign-ins.
MOST_CHANGES = 5
MOST_CHANGES_OF_PROJECT = 2
CHANGE_SECONDS = 20.0
OPTIONS: dict[str, Any] = {
    "options": "-c timezone=UTC -c statement_timeout=20s -c idle_in_transaction_session_timeout=20s",
    "application_name": "zmesh api",
    **KEEPALIVE_OPTIONS,
}


class Database:
    """Runs the queries of the API. Raises DomainError in place of psycopg's errors."""

    def __init__(self, url: str) -> None:
        # Attempts are short, so that the next request makes a new one instead of waiting out a long backoff.
        self._pool = AsyncConnectionPool(
            with_required_auth(url),
            min_size=2,
            max_size=POOL_SIZE,
            open=False,
            timeout=WAIT_SECONDS,
            reconnect_timeout=WAIT_SECONDS,
            kwargs={"autocommit": True, **OPTIONS},
        )
        self._changes = asyncio.Semaphore(MOST_CHANGES)
        self._changes_of: WeakValueDictionary[UUID, asyncio.Semaphore] = WeakValueDictionary()

    async def open(self) -> None:
        """Start connecting; does not wait for the server."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        await self._pool.close(timeout=2)

    def pool_stats(self) -> dict[str, int]:
        """What psycopg counts of the pool."""
        return self._pool.get_stats()

    async def read(self, query: Query[Result]) -> Result:
        """Run a query that changes nothing."""
        return await self.run_idempotent(query)

    async def run_idempotent(self, query: Query[Result]) -> Result:
        """Run a query that may safely run twice, which it does if the connection turns out to be dead."""
        try:
            async with self._pool.connection() as connection:
                try:
                    return await query(connection)
                except psycopg.Error as error:
                    if not _connection_was_lost(connection, error):
                        raise translate_error(error) from error
        except psycopg.OperationalError as error:
            raise translate_error(error) from error
        await self._pool.check()  # the others are probably dead, too
        async with self.connection() as connection:
            return await query(connection)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection]:
        """A connection that has just responded, for statements that must not run twice."""
        try:
            async with self._pool.connection() as connection:
                try:
                    await connection.execute("")
                except psycopg.OperationalError:
                    await self._pool.check()
                else:
                    yield connection
                    return
            async with self._pool.connection() as connection:
                yield connection
        except psycopg.Error as error:
            raise translate_error(error) from error

    @asynccontextmanager
    async def changing(self, project_id: UUID) -> AsyncIterator[AsyncConnection]:
        """The same, for changes of what a project has. A project's own changes wait for one another before they take a
        connection. Raises DomainError."""
        own = self._changes_of.setdefault(project_id, asyncio.Semaphore(MOST_CHANGES_OF_PROJECT))
        async with _turn(own), _turn(self._changes), self.connection() as connection:
            yield connection


@asynccontextmanager
async def _turn(places: asyncio.Semaphore) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(CHANGE_SECONDS):
            await places.acquire()
    except TimeoutError:
        raise Unavailable("Other changes took too long.") from None
    try:
        yield
    finally:
        places.release()


def _connection_was_lost(connection: AsyncConnection, error: psycopg.Error) -> bool:
    return connection.broken or connection.closed or (error.sqlstate or "").startswith("57P")


def translate_error(error: psycopg.Error) -> Exception:
    """The DomainError that an error of PostgreSQL stands for, or the error itself."""
    if isinstance(error, (psycopg.InterfaceError, psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName)):
        emit(DatabaseFailed("queries", str(error).strip()))
        return Unavailable("The database is not ready.")
    ours = domain_error(error)
    if isinstance(ours, Unavailable):
        emit(DatabaseFailed("queries", str(error).strip()))
    return ours or error
