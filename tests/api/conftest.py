"""One API process for all tests of this folder, and a separate project for each test."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.api.client import Api, ApiProcess
from tests.conftest import API_PASSWORD, LISTENER_PASSWORD
from tests.databases import Database


@dataclass(frozen=True)
class Backend:
    """A database and the API over it."""

    database: Database
    process: ApiProcess


@pytest.fixture(scope="session")
def backend(server: str, migrated: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    with Database.fresh(server, API_PASSWORD, LISTENER_PASSWORD, template=migrated) as database:
        database.rows("update zmesh.settings set max_projects_per_owner = 1000000")  # all tests have one owner
        process = ApiProcess(database, tmp_path_factory.mktemp("api") / "log")
        try:
            yield Backend(database, process)
        finally:
            process.stop()
            database.remember_roles()


@pytest.fixture
def api(backend: Backend) -> Api:
    """A new project with an owner and a key."""
    return Api.create(backend.database, backend.process.url, f"p{secrets.token_hex(4)}")


@pytest.fixture
def stranger(backend: Backend) -> Api:
    """Another project on the same platform."""
    return Api.create(backend.database, backend.process.url, f"s{secrets.token_hex(4)}")
