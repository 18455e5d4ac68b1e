"""Connections as a project's own role, for what only the owner of its tables may do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import psycopg
from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo

from api.database import CONNECTION, Database, translate_error
from api.http.problems import Problem, unavailable
from api.management.bounded_answers import MOST_BYTES, AnswersTooLarge, bounded_answers
from sql import listeners
from sql.accounts import password_purpose, role_url
from sql.connecting import with_required_auth
from support.sealing import Sealer


class ProjectRoles:
    """Opens a connection for each use: uses are rare, and connections of a project are limited."""

    def __init__(self, database: Database, sealer: Sealer, server_url: str, client_address: str | None) -> None:
        """`client_address` is where people reach the server, as host or host:port, if elsewhere than we do."""
        self._database = database
        self._sealer = sealer
        self._server_url = server_url
        self._client_url = server_url if client_address is None else _at_address(server_url, client_address)

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
        which may answer only so much. Raises DomainError for psycopg's errors, Problem 409."""
        url = await self._url(project_id, self._server_url)
        try:
            async with (
                await AsyncConnection.connect(
                    with_required_auth(url), **CONNECTION, application_name="zmesh api"
                ) as connection,
                bounded_answers(connection),
            ):
                yield connection
        except AnswersTooLarge as error:
            raise _too_large() from error
        except psycopg.Error as error:
            raise translate_error(error) from error


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
