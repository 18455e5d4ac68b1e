"""Nobody who listens in PostgreSQL's place learns a password: every connection demands that the server knows it."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg.conninfo import conninfo_to_dict

import api.database
from listener.main import connection_pool
from listener.sign_in import sign_in
from listener.wakeups import Wakeups
from sql.connecting import with_required_auth
from sql.migrate import migrate
from support.sealing import Sealer
from tests.databases import Database
from tests.impostor import WISHES, Impostor, Wish, impostor
from tests.platform import ZMESH
from tests.sdk.conftest import wrapped
from tests.sdk.runtimes import run

REPOSITORY = Path(__file__).resolve().parents[1]
HEALTH = [sys.executable, str(REPOSITORY / "deploy" / "listener_health.py")]
ADMIN = [*ZMESH, "admin", "create", "ada@example.com"]


@pytest.fixture(params=WISHES)
def listening(request: pytest.FixtureRequest) -> Iterator[Impostor]:
    wish: Wish = request.param
    with impostor(wish) as server:
        yield server


async def of_the_api(url: str) -> None:
    database = api.database.Database(url)
    await database.open()
    try:
        await database.read(lambda connection: connection.execute("select 1"))
    finally:
        await database.close()


async def of_the_listener(url: str) -> None:
    async with connection_pool(url) as pool, pool.connection(timeout=0.5) as connection:
        await connection.execute("select 1")


async def of_wake_ups(url: str) -> None:
    await asyncio.wait_for(Wakeups(url).run(), 0.5)


async def of_a_session_for_a_run(url: str) -> None:
    await sign_in(url)


async def of_migrate(url: str) -> None:
    await asyncio.to_thread(migrate, url, passwords={"zmesh_api": "x"})


async def of_the_health_check(url: str) -> None:
    environment = {**os.environ, "DATABASE_URL": url}
    await asyncio.to_thread(subprocess.run, HEALTH, env=environment, check=True, capture_output=True)


async def of_the_command_line(url: str) -> None:
    environment = {**os.environ, "DATABASE_URL": url, "ZMESH_SECRET_KEY": Sealer.new_key()}
    await asyncio.to_thread(subprocess.run, ADMIN, env=environment, check=True, capture_output=True)


@pytest.mark.parametrize(
    "connect",
    [
        of_the_api,
        of_the_listener,
        of_wake_ups,
        of_a_session_for_a_run,
        of_migrate,
        of_the_health_check,
        of_the_command_line,
    ],
)
async def test_a_server_that_does_not_know_the_password_gets_no_credentials(
    connect: Callable[[str], Awaitable[None]], listening: Impostor
) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011 - each part fails in its own way; what counts is what was said
        await connect(listening.url())

    assert listening.asked
    assert listening.told == []


@pytest.mark.parametrize("language", ["javascript", "python"])
def test_a_run_does_not_send_it_the_password_of_its_project(language: str, listening: Impostor) -> None:
    body = {"javascript": "await zmesh.db.query('select 1')", "python": "zmesh.db.query('select 1')"}[language]

    ending = run(language, wrapped(language, body), context={"database_url": listening.url()})

    assert listening.asked == 1
    assert listening.told == []
    assert "scram-sha-256" in str(ending.error["message"]).lower()


def test_every_connection_of_the_platform_demands_proof() -> None:
    """Those of tomorrow as well: whatever connects does so by a string from with_required_auth()."""
    opening = {"psycopg.connect", "AsyncConnection.connect", "psycopg.AsyncConnection.connect", "AsyncConnectionPool"}
    found = []
    for room in ("api", "cli", "deploy", "listener", "sql"):
        for path in (REPOSITORY / room).rglob("*.py"):
            for call in ast.walk(ast.parse(path.read_text())):
                if isinstance(call, ast.Call) and ast.unparse(call.func) in opening:
                    found.append((str(path), ast.unparse(call.args[0])))

    assert len(found) >= 10
    assert [place for place in found if not place[1].startswith("with_required_auth(")] == []


@pytest.mark.parametrize(
    ("url", "added"),
    [
        ("postgresql://u:p@db/z", {"require_auth": "scram-sha-256"}),
        ("postgresql://u:p@db/z?sslmode=require", {"require_auth": "scram-sha-256", "channel_binding": "require"}),
        ("host=db sslmode=verify-full", {"require_auth": "scram-sha-256", "channel_binding": "require"}),
        ("host=db sslmode=require channel_binding=prefer", {"require_auth": "scram-sha-256"}),
        ("host=db sslmode=prefer", {"require_auth": "scram-sha-256"}),
        ("host=/run/postgresql dbname=z", {"require_auth": "scram-sha-256,none"}),
        ("dbname=z", {"require_auth": "scram-sha-256,none"}),
        ("host=/run/postgresql,db", {"require_auth": "scram-sha-256"}),
        ("hostaddr=10.0.0.1", {"require_auth": "scram-sha-256"}),
        ("postgresql://u:p@db/z?sslmode=verify-full&require_auth=password", {}),
    ],
)
def test_what_is_demanded_of_a_server(url: str, added: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PG")]:
        monkeypatch.delenv(name)

    assert conninfo_to_dict(with_required_auth(url)) == {**conninfo_to_dict(url), **added}


async def test_a_server_that_knows_it_is_believed(database: Database) -> None:
    with contextlib.closing(psycopg.connect(with_required_auth(database.api_url))) as connection:
        assert connection.pgconn.used_password
    async with await AsyncConnection.connect(with_required_auth(database.listener_url)) as connected:
        assert connected.pgconn.used_password
