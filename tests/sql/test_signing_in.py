"""Signing in as a role that its project has changed, so that the server makes signing in expensive."""

from __future__ import annotations

import psycopg
import pytest

from sql.signing_in import AnswerRefused, UsesTls, signed_in
from tests.databases import Database
from tests.hostile_roles import ITERATIONS, demand_hashing, warn_at_length
from tests.postgres_with_cron import missing
from tests.postgres_with_tls import server_with_tls


@pytest.mark.parametrize("url", ["{url}", "host=127.0.0.1,127.0.0.1 port=1,{port} user={role} password={password}"])
async def test_a_session_is_ready_for_queries(database: Database, url: str) -> None:
    project = database.project()
    parts = psycopg.conninfo.conninfo_to_dict(project.url)
    given = url.format(url=project.url, role=project.role, **parts)
    session = await signed_in(given, application_name="a test", dbname=parts["dbname"])
    found = session.exec_(b"select current_user || ' in ' || current_setting('application_name')")
    assert found.get_value(0, 0) == f"{project.role} in a test".encode()
    session.finish()


@pytest.mark.parametrize("iterations", [ITERATIONS, 10_001])
async def test_a_verifier_that_asks_for_much_hashing_is_refused(database: Database, iterations: int) -> None:
    project = database.project()
    demand_hashing(database, project, iterations)
    with pytest.raises(AnswerRefused, match="iterations"):
        await signed_in(project.url)


async def test_a_password_that_postgresql_hashed_is_accepted(database: Database) -> None:
    project = database.project()
    password = psycopg.conninfo.conninfo_to_dict(project.url)["password"]
    database.rows(f"alter role current_user password '{password}'", url=project.url)
    (await signed_in(project.url)).finish()


async def test_long_warnings_are_not_read(database: Database) -> None:
    project = database.project()
    warn_at_length(database, project, 1_000_000)
    with pytest.raises(AnswerRefused, match="more than 32 KiB"):
        await signed_in(project.url)


@pytest.mark.skipif(missing() is not None, reason=str(missing()))
async def test_what_is_encrypted_is_left_to_the_caller() -> None:
    async with server_with_tls() as url:
        with pytest.raises(UsesTls):
            await signed_in(url)
        (await signed_in(f"{url}?sslmode=disable")).finish()
