"""pg_cron as the clock: a real server with the real extension fires a schedule, with no listener anywhere."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

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


@pytest.mark.timeout(200)
def test_pg_cron_fires_a_schedule_within_the_minute(cron_database: Database) -> None:
    project = cron_database.project()
    function = cron_database.function(project)
    cron_database.rows(
        "insert into zmesh.schedules (project_id, function_id, name, cron, payload)"
        " values (%s, %s, 'each-minute', '* * * * *', '{\"by\": \"cron\"}')",
        project.id,
        function,
    )
    deadline = time.monotonic() + 150
    while not (fired := cron_database.rows("select source, payload, status from zmesh.invocations")):
        assert time.monotonic() < deadline, cron_database.rows("select * from cron.job_run_details")
        time.sleep(0.5)
    assert fired == [{"source": "schedule", "payload": {"by": "cron"}, "status": "queued"}]
    # While pg_cron ticks, a listener's own clock stays silent.
    assert cron_database.value("select zmesh.listener_tick()", url=cron_database.listener_url) == 0
