"""The parts as separate processes, for tests that break one of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import API_PASSWORD, LISTENER_PASSWORD
from tests.databases import Database
from tests.platform import SERVICES, Parts


@pytest.fixture(scope="session")
def shared_parts(server: str, migrated: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    """One API for all tests that leave it and its database alone."""
    with (
        Database.fresh(server, API_PASSWORD, LISTENER_PASSWORD, template=migrated) as database,
        Parts(database, tmp_path_factory.mktemp("parts"), forks=SERVICES) as parts,
    ):
        yield parts


@pytest.fixture
def parts(shared_parts: Parts, tmp_path: Path) -> Iterator[Parts]:
    """An API with a project of this test, which starts the listeners."""
    with shared_parts.for_a_test(tmp_path) as parts:
        yield parts


@pytest.fixture
def own_parts(database: Database, tmp_path: Path) -> Iterator[Parts]:
    """An API with a database that nobody else uses."""
    with Parts(database, tmp_path, forks=SERVICES) as parts:
        yield parts
