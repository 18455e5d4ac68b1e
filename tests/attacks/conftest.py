"""One platform for all attacks: an API and a listener as processes, a project that attacks, and its neighbour."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.conftest import API_PASSWORD, LISTENER_PASSWORD
from tests.databases import Database
from tests.platform import Parts, Platform

SLOTS = "8"


@dataclass(frozen=True)
class Arena:
    """Who attacks whom, and where."""

    parts: Parts
    attacker: Platform
    victim: Platform

    @property
    def database(self) -> Database:
        return self.parts.database


@pytest.fixture(scope="session")
def arena(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arena]:
    with (
        Database.fresh(server, API_PASSWORD, LISTENER_PASSWORD) as database,
        Parts(database, tmp_path_factory.mktemp("arena")) as parts,
    ):
        parts.start_listener(lease_seconds=20, ZMESH_SLOTS=SLOTS)
        yield Arena(parts, parts.project_of("eve"), parts.platform)
