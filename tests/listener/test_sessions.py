"""Sessions for runs to take over, and how many of them wait for the next run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest

from listener import sessions
from listener.sessions import Sessions
from tests.databases import Database
from tests.listener.conftest import eventually
from tests.postgres_with_cron import missing
from tests.postgres_with_tls import server_with_tls

SETTINGS = {"application_name": "a run's o'clock", "zmesh.invocation_id": "1"}
WAITING = """
select pid from pg_stat_activity where datname = current_database() and application_name = 'zmesh for the next run'
"""


@pytest.fixture
async def of_projects() -> AsyncIterator[Sessions]:
    of_projects = Sessions()
    yield of_projects
    await of_projects.close()


def waiting(database: Database) -> set[int]:
    return {row["pid"] for row in database.rows(WAITING)}


async def test_a_session_is_signed_in_on_demand_and_named_after_its_function(
    database: Database, of_projects: Sessions
) -> None:
    project = database.project()
    taken = await of_projects.take(project.url, SETTINGS)
    assert taken is not None
    with taken.descriptor:
        await eventually(
            lambda: database.rows(
                "select 1 from pg_stat_activity where usename = %s and application_name = %s",
                project.role,
                SETTINGS["application_name"],
            ),
            "the session of the run",
        )
        assert taken.data.startswith(b"R")
        assert b"server_version\0" in taken.data


async def test_a_few_wait_for_the_next_runs_of_each_project_and_not_for_ever(
    database: Database, of_projects: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "SPARE_SECONDS", 3.0)
    url = database.project().url
    taken = [await of_projects.take(url, SETTINGS) for _ in range(5)]
    await eventually(lambda: len(waiting(database)) == sessions.SPARE, "as many as are to wait")
    await eventually(lambda: not waiting(database), "the end of those that nobody took")
    for session in taken:
        assert session is not None
        session.descriptor.close()


async def test_the_number_of_waiting_sessions_of_all_projects_is_bounded(
    database: Database, of_projects: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "MOST_SPARE", 3)
    most = 0
    for number in range(4):
        url = database.project(f"shop{number}").url
        taken = await of_projects.take(url, SETTINGS)
        assert taken is not None
        taken.descriptor.close()
        role = psycopg.conninfo.conninfo_to_dict(url)["user"]
        await eventually(
            lambda role=role: len(database.rows(f"{WAITING} and usename = %s", role)) == sessions.SPARE,  # type: ignore[misc]
            "those of the project that asked last",
        )
        await eventually(lambda: len(waiting(database)) <= sessions.MOST_SPARE, "the end of those of another")
        most = max(most, len(waiting(database)))
    assert most == sessions.MOST_SPARE


async def test_none_is_left_when_the_listener_ends(database: Database) -> None:
    of_projects = Sessions()
    taken = await of_projects.take(database.project().url, SETTINGS)
    assert taken is not None
    taken.descriptor.close()
    await eventually(lambda: waiting(database), "one that waits")
    await of_projects.close()
    await eventually(lambda: not waiting(database), "the end of those that waited")


async def test_a_run_itself_reports_an_unreachable_server(of_projects: Sessions, database: Database) -> None:
    for url in (
        "postgresql://a:b@127.0.0.1:1/c",
        database.project().url.replace(":", ":wrong", 2),
        "postgresql://a@b.invalid/c",
    ):
        assert await of_projects.take(url, SETTINGS) is None


async def test_a_server_that_says_nothing_holds_a_run_up_for_a_moment_only(
    of_projects: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "SIGN_IN_SECONDS", 0.2)
    silent = await asyncio.start_server(lambda reader, writer: asyncio.sleep(60), "127.0.0.1")
    port = silent.sockets[0].getsockname()[1]
    assert await of_projects.take(f"postgresql://a:b@127.0.0.1:{port}/c", SETTINGS) is None
    silent.close()


@pytest.mark.skipif(missing() is not None, reason=str(missing()))
async def test_tls_sessions_are_not_handed_over(of_projects: Sessions) -> None:
    async with server_with_tls() as url:
        assert await of_projects.take(url, SETTINGS) is None
        taken = await of_projects.take(f"{url}?sslmode=disable", SETTINGS)
        assert taken is not None
        taken.descriptor.close()
