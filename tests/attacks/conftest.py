"""One platform for all attacks: an API and a listener as processes, a project that attacks, and its neighbour."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import psycopg
import pytest

from cli.bootstrap import bootstrap
from sql.accounts import new_api_key
from sql.sealing import Sealer
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
    name = f"zmesh_test_{secrets.token_hex(6)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"create database {name}")
        database = Database.create(server, name, API_PASSWORD, LISTENER_PASSWORD)
        try:
            with Parts(database, tmp_path_factory.mktemp("arena")) as parts:
                parts.start_listener(lease_seconds=20, ZMESH_SLOTS=SLOTS)
                yield Arena(parts, attacker(parts), parts.platform)
        finally:
            connection.execute(f"drop database {name} with (force)")
            for role in database.roles:
                connection.execute(f"drop role {role}")


def attacker(parts: Parts) -> Platform:
    """The administrator of another project."""
    key, password = new_api_key(), secrets.token_urlsafe(16)
    ready = bootstrap(
        parts.database.admin_url,
        Sealer(parts.database.secret_key),
        project_name="eve",
        admin_email="eve@example.com",
        admin_password=password,
        api_key=key,
    )
    parts.database.roles.append(ready.project.role_name)
    url = parts.platform.url
    login = httpx.post(f"{url}/auth/login", json={"email": "eve@example.com", "password": password})
    return Platform(url, str(ready.project.id), key, login.json()["token"], ready.database_url, parts.folder)
