"""Connection strings of the projects' own roles, as the runs get them."""

from __future__ import annotations

from uuid import UUID

from psycopg_pool import AsyncConnectionPool

from sql import listeners
from sql.accounts import password_purpose, role_url
from support.sealing import Sealer


class ProjectDatabases:
    """Unsealed connection strings, read once per project."""

    def __init__(self, pool: AsyncConnectionPool, sealer: Sealer, server_url: str) -> None:
        self._pool = pool
        self._sealer = sealer
        self._server_url = server_url
        self._urls: dict[UUID, str] = {}

    async def url(self, project_id: UUID) -> str:
        """The connection string of a project's role. Raises LookupError, SealingError, psycopg.Error."""
        known = self._urls.get(project_id)
        if known is not None:
            return known
        async with self._pool.connection() as connection:
            database = await listeners.project_database(connection, project_id)
        if database is None:
            raise LookupError(f"project {project_id} has no database")
        password = self._sealer.open(database.sealed_password, password_purpose(database.role_name))
        url = role_url(self._server_url, database.role_name, password)
        self._urls[project_id] = url
        return url
