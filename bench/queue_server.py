"""A PostgreSQL of a benchmark's own, durable as in production, with a migrated database and a project in it."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from cli.platform.postgres import EmbeddedPostgres
from tests.databases import Database

PASSWORDS = secrets.token_urlsafe(16), secrets.token_urlsafe(16)  # roles belong to the server, not to a database


@contextmanager
def server() -> Iterator[str]:
    """Connection string of its superuser."""
    with tempfile.TemporaryDirectory(prefix="zmesh-bench-") as folder:
        postgres = EmbeddedPostgres(Path(folder))
        postgres.start()
        try:
            yield postgres.admin_url
        finally:
            postgres.stop()


def new_database(server: str) -> Database:
    """A migrated database on the server."""
    name = f"bench_{secrets.token_hex(4)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"create database {name}")
    return Database.create(server, name, *PASSWORDS)
