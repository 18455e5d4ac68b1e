"""Connections as a project's own role, for what only the owner of its tables may do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import psycopg
from psycopg import AsyncConnection

from api.database import CONNECTION, Database, meant
from api.problems import unavailable
from sql import jobs
from sql.accounts import password_purpose, role_url
from sql.sealing import Sealer


class ProjectRoles:
    """Opens a connection for each use: they are rare, and a connection of a project is none to keep."""

    def __init__(self, database: Database, sealer: Sealer, server_url: str) -> None:
        self._database = database
        self._sealer = sealer
        self._server_url = server_url

    @asynccontextmanager
    async def connection(self, project_id: UUID) -> AsyncIterator[AsyncConnection]:
        """A connection with the rights of the project and no others. Raises DomainError for psycopg's errors."""
        found = await self._database.read(lambda c: jobs.project_database(c, project_id))
        if found is None:
            raise unavailable("The project has no database.")
        password = self._sealer.open(found.sealed_password, password_purpose(found.role_name))
        url = role_url(self._server_url, found.role_name, password)
        try:
            async with await AsyncConnection.connect(url, **CONNECTION, application_name="zmesh api") as connection:
                yield connection
        except psycopg.Error as error:
            raise meant(error) from error
