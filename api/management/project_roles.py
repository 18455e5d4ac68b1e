"""Connections as a project's own role, for what only the owner of its tables may do."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import asynccontextmanager
from uuid import UUID
from weakref import WeakValueDictionary

import psycopg
from psycopg import AsyncConnection, generators, waiting
from psycopg.conninfo import make_conninfo
from psycopg.pq import abc as pq

from api.database import OPTIONS, Database, translate_error
from api.http.problems import Problem, unavailable
from api.management.bounded_answers import MOST_BYTES, AnswersTooLarge, bounded_answers
from sql import listeners
from sql.accounts import password_purpose, role_url
from sql.signing_in import SECONDS, AnswerRefused, UsesTls, conninfo, signed_in
from support.sealing import Sealer

SIGNAL_SECONDS = 0.1  # how often psycopg checks for signals


class ProjectRoles:
    """Opens a connection for each use: uses are rare, and connections of a project are limited."""

    def __init__(self, database: Database, sealer: Sealer, server_url: str, client_address: str | None) -> None:
        """`client_address` is where people reach the server, as host or host:port, if elsewhere than we do."""
        self._database = database
        self._sealer = sealer
        self._server_url = server_url
        self._client_url = server_url if client_address is None else _at_address(server_url, client_address)
        self._locks: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()

    async def url_for_owners(self, project_id: UUID) -> str:
        """Connection string of the project's role, for its owners. Raises Problem 503."""
        return await self._url(project_id, self._client_url)

    async def _url(self, project_id: UUID, server_url: str) -> str:
        found = await self._database.read(lambda c: listeners.project_database(c, project_id))
        if found is None:
            raise unavailable("The project has no database.")
        password = self._sealer.open(found.sealed_password, password_purpose(found.role_name))
        return role_url(server_url, found.role_name, password)

    @asynccontextmanager
    async def connection(self, project_id: UUID) -> AsyncIterator[AsyncConnection]:
        """A connection with the rights of the project and no others. What is asked there may run the project's code,
        which may answer only so much. Raises DomainError for psycopg's errors, Problem 409 or 503."""
        url = await self._url(project_id, self._server_url)
        try:
            async with await self._connected(project_id, url) as connection, bounded_answers(connection):
                yield connection
        except AnswersTooLarge as error:
            raise _too_large() from error
        except psycopg.Error as error:
            raise translate_error(error) from error

    async def _connected(self, project_id: UUID, url: str) -> AsyncConnection:
        options = {**OPTIONS, "client_encoding": "UTF8"}
        try:
            try:
                pgconn = await signed_in(url, **options)
            except UsesTls:
                pgconn = await self._signed_in_by_tls(project_id, await conninfo(url, **options))
        except AnswerRefused as error:
            raise unavailable(f"Cannot sign in as the project's role: {error}.") from error
        except psycopg.OperationalError as error:
            raise _refused(error) from error
        except OSError as error:
            raise unavailable("The project's database does not answer.") from error
        pgconn.nonblocking = 1
        connection = AsyncConnection(pgconn)
        await connection.set_autocommit(True)
        return connection

    async def _signed_in_by_tls(self, project_id: UUID, conninfo: str) -> pq.PGconn:
        """In a thread, since the project decides how long it takes: up to a quarter of an hour, of one thread."""
        lock = self._locks.setdefault(project_id, asyncio.Lock())
        async with asyncio.timeout(SECONDS):
            await lock.acquire()
            signing_in = _sign_in_a_thread(conninfo)
            loop = asyncio.get_running_loop()
            signing_in.add_done_callback(lambda _: loop.call_soon_threadsafe(lock.release))
            return await asyncio.wrap_future(signing_in)


def _sign_in_a_thread(conninfo: str) -> Future[pq.PGconn]:
    future: Future[pq.PGconn] = Future()
    future.set_running_or_notify_cancel()

    def sign_in() -> None:
        try:
            future.set_result(waiting.wait_conn(generators.connect(conninfo), SIGNAL_SECONDS, SECONDS))
        except Exception as error:
            future.set_exception(error)

    threading.Thread(target=sign_in, name="sign-in", daemon=True).start()  # the process does not wait for its end
    return future


def _refused(error: psycopg.OperationalError) -> Exception:
    """A problem about what the project itself can remedy; any other error is about the server, returned as it is."""
    if "password authentication failed" in str(error):
        problem = unavailable("Cannot sign in as the project's role: somebody changed its password.")
        problem.hint = (
            "Set it back to the password in the project's connection string: alter role current_user password '…'."
        )
        return problem
    if "too many connections for role" in str(error):
        problem = unavailable("The project's role has no more connections to the database left.")
        problem.hint = (
            "Close some. If zmesh.ended_sessions shows that sessions of the project blocked others, wait some minutes."
        )
        return problem
    return error


def _too_large() -> Problem:
    return Problem(
        409,
        "answers_too_large",
        f"The project's database sent more than {MOST_BYTES // 1024} KiB, in rows, notices or error messages.",
        "Does a migration or a condition print notices, or raise an error with a long text? `zmesh migrations apply` "
        "and `zmesh sql` have no such limit.",
    )


def _at_address(server_url: str, address: str) -> str:
    host, _, port = address.rpartition(":") if address.rpartition(":")[2].isdigit() else (address, "", "")
    return make_conninfo(server_url, host=host.strip("[]"), **({"port": port} if port else {}))
