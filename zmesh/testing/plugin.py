"""The plugin for pytest: the fixture `zmesh`, and the time limits of `zmesh test`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from zmesh.testing import RecordingZmesh


def pytest_configure(config: pytest.Config) -> None:
    from zmesh.testing.limits import add_time_limits

    add_time_limits(config)


@pytest.fixture(scope="session")
def zmesh_test_database(pytestconfig: pytest.Config) -> Iterator[str]:
    """Connection string of the throw-away database."""
    from zmesh.testing.database import database_url

    with database_url(pytestconfig.rootpath) as url:
        yield url


@pytest.fixture
def zmesh(zmesh_test_database: str) -> Iterator[RecordingZmesh]:
    """The zmesh object to pass to a handler; what the test did to the database is rolled back."""
    from zmesh.testing import RecordingZmesh

    with closing(RecordingZmesh(zmesh_test_database)) as zmesh:
        yield zmesh
