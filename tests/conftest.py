"""Real parts for every test: a PostgreSQL server, and a separate migrated database for each test."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import psycopg
import pytest

from tests.databases import Database
from tests.platform import Platform, zmesh_dev
from tests.processes import EndsChildrenInTime, restore_signals

# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile("untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("untimed")

restore_signals()

API_PASSWORD = secrets.token_urlsafe(16)
ROOM_FOR_POSTGRES = 4 << 30
LISTENER_PASSWORD = secrets.token_urlsafe(16)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(EndsChildrenInTime())


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Connection string of a superuser on the embedded PostgreSQL, or on the server ZMESH_TEST_SERVER names."""
    given = os.environ.get("ZMESH_TEST_SERVER")
    if given:
        yield given
        return
    from cli.platform.postgres import SETTINGS, EmbeddedPostgres

    memory = memory_for_postgres()
    postgres = EmbeddedPostgres(memory or tmp_path_factory.mktemp("postgres"))
    with pytest.MonkeyPatch.context() as patch:  # so that tests can count statements
        patch.setitem(SETTINGS, "shared_preload_libraries", "pg_stat_statements")
        postgres.start()
    with psycopg.connect(postgres.admin_url, autocommit=True) as connection:
        connection.execute("alter system set fsync = off")  # no test pulls the plug of the machine
        connection.execute("select pg_reload_conf()")
    try:
        yield postgres.admin_url
    finally:
        postgres.stop()
        if memory is not None:
            shutil.rmtree(memory)


def memory_for_postgres() -> Path | None:
    """A folder in which hundreds of databases are copied and dropped in half the time, where there is room for it."""
    shared = Path("/dev/shm")
    if not shared.is_dir() or shutil.disk_usage(shared).free < ROOM_FOR_POSTGRES:
        return None
    folder = Path(tempfile.mkdtemp(prefix="zmesh-postgres-", dir=shared))
    folder.chmod(0o711)  # the server's own user gets into it
    return folder


@pytest.fixture(scope="session")
def migrated(server: str) -> Iterator[str]:
    """Name of a migrated database without connections: the template for the databases of tests."""
    name = f"zmesh_template_{secrets.token_hex(6)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"create database {name}")
        Database.create(server, name, API_PASSWORD, LISTENER_PASSWORD)
        try:
            yield name
        finally:
            connection.execute(f"drop database {name} with (force)")


@pytest.fixture
def database(server: str, migrated: str) -> Iterator[Database]:
    """A migrated database that only this test sees."""
    with Database.fresh(server, API_PASSWORD, LISTENER_PASSWORD, template=migrated) as database:
        yield database


@pytest.fixture(scope="session")
def running_platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """`zmesh dev` with the examples deployed, shared by every test that leaves it as it was."""
    with zmesh_dev(Path(tmp_path_factory.mktemp("platform"))) as platform:
        yield platform
