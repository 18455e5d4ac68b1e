"""A listener's life: it wakes, claims what it can run, keeps its lease, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import time
from uuid import UUID

import psycopg
import pytest
from psycopg import AsyncConnection

from listener import lease, outcomes
from listener.databases import ProjectDatabases
from listener.lease import RENEWALS_APART_SECONDS
from sql import listeners
from tests.autovacuum import eager_autovacuum, neglect, reloptions, trap, trapped
from tests.databases import Database
from tests.listener.conftest import Running, ScriptedSandbox, eventually


def ended(database: Database, ids: list[UUID]) -> bool:
    query = "select count(*) from zmesh.invocations where id = any (%s) and finished_at is not null"
    return bool(database.value(query, ids) == len(ids))


def owners(database: Database) -> int:
    return int(database.value("select count(*) from zmesh.listeners"))


async def test_what_is_inserted_runs_and_its_result_is_kept(database: Database, running: Running) -> None:
    project = database.project()
    database.function(project)
    async with running():
        ids = database.enqueue(project, count=30, payload='{"n": 1}')
        await eventually(lambda: ended(database, ids), "the ends")
    results = database.rows("select status, result, attempt from zmesh.invocations")
    assert results == [{"status": "success", "result": {"n": 1}, "attempt": 1}] * 30


async def test_a_lease_that_takes_long_to_register_is_not_lost_before_it_begins(
    database: Database, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    report_sandbox = listeners.report_sandbox

    async def slowly(connection: AsyncConnection, id: UUID, level: str, gaps: list[str]) -> None:
        for _ in range(1000):  # the guard looks each time
            await asyncio.sleep(0)
        await report_sandbox(connection, id, level, gaps)

    monkeypatch.setattr(lease, "GUARD_SECONDS", 0)
    monkeypatch.setattr(listeners, "report_sandbox", slowly)
    async with running() as listener:
        await eventually(lambda: listener.lease.held, "the lease")
        assert owners(database) == 1


async def test_no_more_run_at_once_than_there_are_slots(
    database: Database, running: Running, sandbox: ScriptedSandbox
) -> None:
    project = database.project()
    database.function(project)
    sandbox.allowed.clear()
    async with running(slots=3):
        ids = database.enqueue(project, count=20)
        await eventually(lambda: len(sandbox.runs) == 3, "three runs")
        assert database.value("select count(*) from zmesh.queue where status = 'running'") == 3
        sandbox.allowed.set()
        await eventually(lambda: ended(database, ids), "the ends")
    assert sandbox.most_at_once == 3


async def test_delayed_and_retried_invocations_run_when_they_come_due(database: Database, running: Running) -> None:
    project = database.project()
    database.function(project)
    async with running():
        await eventually(lambda: owners(database) == 1, "the listener")
        later = "clock_timestamp() + interval '300 milliseconds'"
        query = f"insert into zmesh.invocations (function, run_at) values ('greet', {later}) returning id"
        id = database.value(query, url=project.url)
        await eventually(lambda: ended(database, [id]), "the delayed invocation")
    assert database.value("select started_at >= run_at from zmesh.invocations")


async def test_a_lost_connection_loses_no_invocation(database: Database, running: Running) -> None:
    project = database.project()
    database.function(project)
    async with running():
        await eventually(lambda: owners(database) == 1, "the listener")
        for _ in range(5):
            database.rows("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'zmesh_listener'")
            ids = database.enqueue(project, count=5)
            await eventually(lambda ids=ids: ended(database, ids), "the ends")  # type: ignore[misc]
    assert database.value("select max(attempt) from zmesh.invocations") == 1


async def test_a_database_that_takes_no_writes_for_a_while_loses_no_result(
    database: Database,
    running: Running,
    sandbox: ScriptedSandbox,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As while another server takes over: it answers, and refuses."""
    monkeypatch.setattr(outcomes, "UNEXPLAINED_SECONDS", 0.0)  # this is explained, however long it lasts
    project = database.project()
    database.function(project)
    sandbox.allowed.clear()
    async with running():
        [id] = database.enqueue(project)
        await eventually(lambda: len(sandbox.runs) == 1, "the run")
        name = database.value("select current_database()")
        for setting in ("set default_transaction_read_only = on", "reset default_transaction_read_only"):
            database.rows(f"alter role zmesh_listener in database {name} {setting}")
            database.rows("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'zmesh_listener'")
            sandbox.allowed.set()
            if setting.startswith("set"):
                await eventually(lambda: "outcomes: cannot execute" in caplog.text, "the refusal")
        await eventually(lambda: ended(database, [id]), "its end")
    outcome = database.invocation(id)
    assert (outcome["status"], outcome["attempt"], outcome["error"]) == ("success", 1, None)


async def test_stopping_lets_runs_end_and_starts_no_more(
    database: Database, running: Running, sandbox: ScriptedSandbox
) -> None:
    project = database.project()
    database.function(project)
    sandbox.allowed.clear()
    async with running(slots=2):
        database.enqueue(project, count=5)
        await eventually(lambda: len(sandbox.runs) == 2, "two runs")
        asyncio.get_running_loop().call_later(0.2, sandbox.allowed.set)
    counts = database.rows("select status, count(*) from zmesh.invocations group by status order by status")
    assert counts == [{"status": "queued", "count": 3}, {"status": "success", "count": 2}]
    assert owners(database) == 0


async def test_stopping_gives_back_what_does_not_end_in_time(
    database: Database, running: Running, sandbox: ScriptedSandbox
) -> None:
    project = database.project()
    database.function(project)
    sandbox.allowed.clear()
    async with running(drain_seconds=0):
        [again] = database.enqueue(project)
        [once] = database.enqueue(project, max_attempts=1)
        await eventually(lambda: len(sandbox.runs) == 2, "two runs")
    assert sandbox.cancelled == 2
    assert database.invocation(again)["status"] == "queued"
    assert database.invocation(once)["error"]["type"] == "listener_lost"


async def test_a_listener_whose_lease_was_lost_stops_its_runs_and_starts_again(
    database: Database, running: Running, sandbox: ScriptedSandbox
) -> None:
    project = database.project()
    database.function(project)
    sandbox.allowed.clear()
    async with running(lease_seconds=2):
        [id] = database.enqueue(project, retry_base_ms=1)
        await eventually(lambda: len(sandbox.runs) == 1, "the run")
        first = database.value("select id from zmesh.listeners")
        database.rows("update zmesh.listeners set lease_expires_at = zmesh.now()")
        database.rows("select zmesh.reap()")
        await eventually(lambda: sandbox.cancelled == 1, "the end of the run that lost its lease")
        sandbox.allowed.set()
        await eventually(lambda: ended(database, [id]), "the second attempt")
        assert database.value("select id from zmesh.listeners") != first
    assert database.invocation(id)["attempt"] == 2


async def test_a_run_that_cannot_be_prepared_for_want_of_the_database_is_queued_again(
    database: Database, running: Running, sandbox: ScriptedSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failed = ProjectDatabases.url, []

    async def url(databases: ProjectDatabases, project_id: UUID) -> str:
        if not failed:
            failed.append(project_id)
            raise psycopg.OperationalError("the connection is lost")
        return await real(databases, project_id)

    monkeypatch.setattr(ProjectDatabases, "url", url)
    project = database.project()
    database.function(project)
    [id] = database.enqueue(project, max_attempts=1)
    async with running():
        await eventually(lambda: ended(database, [id]), "its end")
    assert (database.invocation(id)["status"], len(sandbox.runs)) == ("success", 1)


async def test_a_process_that_stood_still_does_not_start_what_it_had_claimed_before(
    database: Database, running: Running, sandbox: ScriptedSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, stood_still = ProjectDatabases.url, []

    async def url(databases: ProjectDatabases, project_id: UUID) -> str:
        answer = await real(databases, project_id)
        if not stood_still:
            stood_still.append(project_id)
            time.sleep(1.5)  # the whole process, as under SIGSTOP
        return answer

    monkeypatch.setattr(ProjectDatabases, "url", url)
    project = database.project()
    database.function(project)
    ids = database.enqueue(project, retry_base_ms=1)
    async with running(lease_seconds=1):
        await eventually(lambda: ended(database, ids), "its end")
    assert [run.context["attempt"] for run in sandbox.runs] == [2]


async def test_a_running_invocation_is_stopped_when_it_is_cancelled(
    database: Database, running: Running, sandbox: ScriptedSandbox
) -> None:
    project = database.project()
    database.function(project)
    sandbox.allowed.clear()
    async with running():
        [id] = database.enqueue(project)
        await eventually(lambda: len(sandbox.runs) == 1, "the run")
        database.rows("select zmesh.cancel(%s)", [id], url=database.api_url)
        await eventually(lambda: ended(database, [id]), "the end")
    assert database.invocation(id)["status"] == "cancelled"


async def test_a_listener_does_the_upkeep(database: Database, running: Running) -> None:
    project = database.project()
    database.function(project)
    expired = "clock_timestamp() + interval '200 milliseconds', clock_timestamp() + interval '1 hour'"
    query = f"insert into zmesh.invocations (function, expires_at, run_at) values ('greet', {expired}) returning id"
    id = database.value(query, url=project.url)
    async with running():
        await eventually(lambda: ended(database, [id]), "the end of what expired")
        await eventually(
            lambda: database.value("select last_run_at is not null from zmesh.upkeep"), "the maintenance of history"
        )
    assert database.invocation(id)["error"]["type"] == "expired"


async def test_a_listener_frees_the_workers_of_autovacuum_that_projects_keep(
    database: Database, running: Running, server: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("listener.upkeep.ANALYZE_SECONDS", 1.0)
    project = database.project()
    with eager_autovacuum(server):
        for table in ("trap_1", "trap_2", "trap_3", "trap_4"):  # one more than there are workers
            trap(database, table, project)
        await eventually(lambda: trapped(database), "a worker in a trap")
        async with running():
            off = ["autovacuum_enabled=off"]
            await eventually(lambda: list(reloptions(database).values()) == [off] * 4, "autovacuum to be off")
            await eventually(lambda: not trapped(database), "the end of the workers")
    assert f"({project.role}): autovacuum spent too long in the project's code" in caplog.text


async def test_a_listener_says_when_autovacuum_neglects_the_platforms_tables(
    database: Database, running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    neglect(database)
    await eventually(lambda: database.rows("select 1 from zmesh.tables_behind_on_vacuum()"), "the statistics")
    async with running():
        said = "autovacuum does not keep up with zmesh.api_key_functions"
        await eventually(lambda: said in caplog.text, "the alarm")


async def test_a_listener_cancels_what_deleted_functions_left_in_the_queue(
    database: Database, running: Running, sandbox: ScriptedSandbox
) -> None:
    project = database.project()
    function = database.function(project)
    database.enqueue(project, count=2500)
    database.rows("delete from zmesh.functions where id = %s", function)
    async with running():
        await eventually(lambda: database.value("select count(*) from zmesh.queue") == 0, "the ends")
    assert sandbox.runs == []
    assert database.rows("select distinct status from zmesh.history") == [{"status": "cancelled"}]


async def test_a_flood_of_notifications_renews_the_lease_not_much_more_often(
    database: Database, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any role may send them."""
    project = database.project()
    renewals: list[UUID] = []
    renew = listeners.renew_lease

    async def counted(connection: AsyncConnection, listener: UUID, seconds: float) -> list[UUID]:
        renewals.append(listener)
        return await renew(connection, listener, seconds)

    def flood() -> float:
        started = time.monotonic()
        with psycopg.connect(project.url, autocommit=True) as connection:
            for _ in range(500):
                connection.execute("notify zmesh_cancel")
        return time.monotonic() - started

    monkeypatch.setattr(listeners, "renew_lease", counted)
    async with running():
        await eventually(lambda: owners(database) == 1, "the listener")
        seconds = await asyncio.to_thread(flood)
        assert len(renewals) <= seconds / RENEWALS_APART_SECONDS + 2


async def test_the_listener_reports_how_long_its_loop_was_blocked(database: Database, running: Running) -> None:
    async with running():
        await eventually(lambda: owners(database), "its lease")
        time.sleep(0.3)
        await eventually(
            lambda: database.value("select max(loop_held_ms) from zmesh.listeners") >= 200, "what it tells of itself"
        )
