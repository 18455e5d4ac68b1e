"""A PostgreSQL of a test's own, for what it may not do to the server that others use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cli.platform.postgres import EmbeddedPostgres
from tests.conftest import API_PASSWORD, LISTENER_PASSWORD
from tests.databases import Database


@contextmanager
def own_server(folder: Path) -> Iterator[tuple[EmbeddedPostgres, Database]]:
    """The server with its data in the folder, and a migrated database on it, until the block ends."""
    postgres = EmbeddedPostgres(folder / "postgres")
    postgres.start()
    try:
        yield postgres, Database.create(postgres.admin_url, "postgres", API_PASSWORD, LISTENER_PASSWORD)
    finally:
        postgres.stop()
