"""The parts as separate processes, for tests that break one of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.databases import Database
from tests.platform import Parts


@pytest.fixture
def parts(database: Database, tmp_path: Path) -> Iterator[Parts]:
    """An API with its own database; the test starts the listeners."""
    with Parts(database, tmp_path) as parts:
        yield parts
