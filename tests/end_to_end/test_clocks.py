"""Schedules while their clocks are paused, killed and cut off: each due time fires once, or is recorded as skipped."""

from __future__ import annotations

import itertools
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from cli.platform.postgres import EmbeddedPostgres
from tests.databases import Database, Row
from tests.own_server import own_server
from tests.platform import SERVICES, Parts, eventually

SECOND = timedelta(seconds=1)


@contextmanager
def another_clock(database: Database) -> Iterator[None]:
    """Ticks without a pause, as pg_cron and any number of others may, whether or not the server is there."""
    stop = threading.Event()

    def tick() -> None:
        while not stop.wait(0.05):
            with suppress(psycopg.OperationalError):
                database.rows("select zmesh.tick()", url=database.listener_url)

    thread = threading.Thread(target=tick)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def runs(database: Database, name: str) -> list[Row]:
    return database.rows(
        "select r.due_at, coalesce(r.last_due_at, r.due_at) as last_due_at, r.outcome, r.invocation_id"
        " from zmesh.schedule_runs r join zmesh.schedules s on s.id = r.schedule_id where s.name = %s"
        " order by r.due_at",
        name,
    )


def wait_for_more(database: Database, count: int) -> None:
    """Until that many due times more have fired."""
    before = len(runs(database, "all"))
    eventually(lambda: len(runs(database, "all")) >= before + count, f"{count} more due times")


def assert_each_due_time_is_there_once(database: Database, name: str) -> None:
    found = runs(database, name)
    for before, after in itertools.pairwise(found):
        assert after["due_at"] - before["last_due_at"] == SECOND, (name, before, after)
    invocations = database.rows(
        "select i.id from zmesh.invocations i join zmesh.schedules s on s.id = i.schedule_id where s.name = %s", name
    )
    fired = [run["invocation_id"] for run in found if run["outcome"] == "fired"]
    assert sorted(fired) == sorted(invocation["id"] for invocation in invocations)


@pytest.mark.timeout(240)
def test_each_due_time_fires_once_whatever_happens_to_the_clocks(tmp_path: Path) -> None:
    with own_server(tmp_path) as (postgres, database):
        with Parts(database, tmp_path, forks=SERVICES) as parts:
            break_the_clocks(postgres, parts)
        for name in ("all", "once", "skip"):
            assert_each_due_time_is_there_once(database, name)
        assert {run["outcome"] for run in runs(database, "all")} == {"fired"}
        assert "skipped_missed" in {run["outcome"] for run in runs(database, "once")}


def break_the_clocks(postgres: EmbeddedPostgres, parts: Parts) -> None:
    database = parts.database
    parts.platform.deploy("tick", "def handler(payload, zmesh):\n    return None\n")
    for name in ("all", "once", "skip"):
        parts.platform.sql(
            "insert into zmesh.schedules (name, function, cron, overlap, missed)"
            " values (%s, 'tick', '1 second', 'queue', %s)",
            *(name, name),
        )
    first, second = parts.start_listener(), parts.start_listener()
    with another_clock(database):
        wait_for_more(database, 2)
        first.signal(signal.SIGSTOP)
        wait_for_more(database, 2)
    second.kill()
    stopped = runs(database, "all")[-1]["due_at"]  # no clock runs any more
    eventually(lambda: database.value("select zmesh.now() > %s + interval '4 seconds'", stopped), "a gap")
    os.kill(postgres.pid or 0, signal.SIGKILL)
    postgres.start()
    first.signal(signal.SIGCONT)
    parts.start_listener()
    with another_clock(database):
        wait_for_more(database, 3)
