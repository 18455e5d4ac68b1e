"""pg_cron as the clock: a real server with the real extension fires schedules, with the listeners' clocks beside it."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from sql import listeners
from tests.databases import Database
from tests.postgres_with_cron import missing, postgres_with_cron

# The folder must be passable for the server's own user, which pytest's temporary folders are not.
WHY_NOT = missing()
pytestmark = pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT))


@pytest.fixture(scope="module")
def cron_database() -> Iterator[Database]:
    with (
        tempfile.TemporaryDirectory(prefix="zmesh-cron-") as folder,
        postgres_with_cron(Path(folder), "shop") as url,
    ):
        yield Database.create(url, "shop", "api-password", "listener-password")


def test_migrating_makes_pg_cron_the_clock(cron_database: Database) -> None:
    assert cron_database.value("select source from zmesh.clock") == "pg_cron"
    job = cron_database.row("select command, database, username from cron.job where jobname = 'zmesh tick'")
    assert job == {"command": "select zmesh.tick()", "database": "shop", "username": "zmesh_listener"}


def test_migrating_again_keeps_one_job(cron_database: Database) -> None:
    from sql.migrate import migrate

    migrate(cron_database.admin_url)
    assert cron_database.value("select count(*) from cron.job") == 1


@pytest.mark.parametrize("restored_from", ["database = 'another'", "nodeport = 1"])
def test_migrating_points_a_restored_job_at_this_database(cron_database: Database, restored_from: str) -> None:
    from sql.migrate import migrate

    cron_database.rows(f"update cron.job set {restored_from} where jobname = 'zmesh tick'")
    migrate(cron_database.admin_url)
    job = cron_database.row("select database, nodeport = current_setting('port')::integer as here from cron.job")
    assert job == {"database": "shop", "here": True}


async def test_maintenance_forgets_ticks_of_more_than_a_day_ago(cron_database: Database) -> None:
    """pg_cron adds a row for each, and never takes one away."""
    cron_database.rows("update zmesh.upkeep set last_run_at = null")
    for runid, command, days in (
        (1001, "select zmesh.tick()", 2),
        (1002, "select zmesh.tick()", 0),
        (1003, "select 1", 2),
    ):
        cron_database.rows(
            "insert into cron.job_run_details (jobid, runid, database, username, command, status, start_time, end_time)"
            " values (1, %s, 'shop', 'zmesh_listener', %s, 'succeeded', now() - make_interval(days => %s),"
            " now() - make_interval(days => %s))",
            *(runid, command, days, days),
        )
    async with await psycopg.AsyncConnection.connect(cron_database.listener_url, autocommit=True) as connection:
        assert await listeners.maintain(connection)

    kept = cron_database.rows("select runid from cron.job_run_details where runid > 1000 order by runid")
    assert [row["runid"] for row in kept] == [1002, 1003]


@contextmanager
def listeners_clocks(database: Database) -> Iterator[None]:
    """Two listeners' clocks, which tick far more often than real ones."""
    stop = threading.Event()

    def tick() -> None:
        with database.connect(database.listener_url) as connection:
            while not stop.wait(0.02):
                connection.execute("select zmesh.listener_tick()")

    threads = [threading.Thread(target=tick) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.mark.timeout(200)
def test_beside_listeners_pg_cron_fires_the_minutes_and_nothing_fires_twice(cron_database: Database) -> None:
    project = cron_database.project()
    function = cron_database.function(project)
    for name, cron in (("minutes", "* * * * *"), ("seconds", "1 second")):
        cron_database.rows(
            "insert into zmesh.schedules (project_id, function_id, name, cron, payload, overlap, missed)"
            " values (%s, %s, %s, %s, '{\"by\": \"cron\"}', 'queue', 'all')",
            *(project.id, function, name, cron),
        )
    # As if pg_cron had ticked before: so listeners leave whole minutes to it.
    cron_database.rows("update zmesh.clock set cron_ticked_at = now()")
    runs = (
        "select r.due_at, r.outcome, i.payload, i.source from zmesh.schedule_runs r"
        " join zmesh.schedules s on s.id = r.schedule_id join zmesh.invocations i on i.id = r.invocation_id"
        " where s.name = %s and i.run_at = r.due_at order by r.due_at"
    )
    ticked = "select 1 from cron.job_run_details where status = 'succeeded'"
    deadline = time.monotonic() + 150
    with listeners_clocks(cron_database):
        while not all(
            (cron_database.rows(runs, "minutes"), cron_database.rows(ticked), cron_database.rows(runs, "seconds")[3:])
        ):
            assert time.monotonic() < deadline, cron_database.rows("select * from cron.job_run_details")
            time.sleep(0.5)
    for run in cron_database.rows(runs, "minutes"):
        assert (run["outcome"], run["payload"], run["source"]) == ("fired", {"by": "cron"}, "schedule")
    # Each second from the first to the last, once, although three clocks ticked.
    seconds = [run["due_at"] for run in cron_database.rows(runs, "seconds")]
    assert seconds == [seconds[0] + timedelta(seconds=n) for n in range(len(seconds))]
    strays = "select id from zmesh.invocations where id not in (select invocation_id from zmesh.schedule_runs)"
    assert cron_database.rows(strays) == []
