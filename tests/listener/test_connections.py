"""The listener's connections to the database."""

from __future__ import annotations

import pytest

from listener import main
from listener.databases import ProjectDatabases
from support.sealing import Sealer
from tests.databases import Database


async def test_connections_that_died_while_idle_are_replaced_before_they_are_used(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run requests what it needs only once, so nothing would be retried."""
    project = database.project()
    async with main.connection_pool(database.listener_url) as pool:
        await pool.wait()
        for _ in range(main.POOL_SIZE):
            async with pool.connection():
                pass  # seen alive
        monkeypatch.setattr(main, "BELIEVED_SECONDS", 0.0)  # as if the second had passed
        database.rows("select pg_terminate_backend(pid, 10000) from pg_stat_activity where usename = 'zmesh_listener'")
        databases = ProjectDatabases(pool, Sealer(database.secret_key), database.listener_url)
        assert project.role in await databases.url(project.id)
