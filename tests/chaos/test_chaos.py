"""Everything is killed again and again while thousands invoke; afterwards all promises hold.

CHAOS_SECONDS makes it last longer (`make chaos`), CHAOS_SEED repeats the order of mishaps."""

from __future__ import annotations

import os
import random
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest

from tests.chaos.callers import Callers
from tests.chaos.records import check_runs, most_at_once, read_runs
from tests.chaos.scene import Scene, scene
from tests.databases import Database, Row
from tests.platform import FINAL, eventually

SECONDS = float(os.environ.get("CHAOS_SECONDS", "7"))
SEED = int(os.environ.get("CHAOS_SEED", "0")) or random.randrange(1, 1_000_000)
LIMITS = {"platform": 6, "project": 4, "pair": 2, "key": 1}
CALLERS = 6
REAL_CODE = """
def handler(payload, zmesh):
    zmesh.db.insert("runs", {"n": payload["n"]})
    return payload["n"]
"""

pytestmark = pytest.mark.timeout(SECONDS * 6 + 300)


def storm(scene: Scene, callers: Callers, seconds: float, pause: float) -> list[str]:
    """Call and break for some seconds; returns the mishaps."""
    choose = random.Random(SEED)
    mishaps = []
    with ThreadPoolExecutor(CALLERS) as threads:
        calls = [threads.submit(callers.call, SEED + n, pause) for n in range(CALLERS)]
        try:
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                time.sleep(choose.uniform(0.1, 1))
                mishaps.append(scene.break_something(choose))
        finally:
            callers.stop.set()
        for call in calls:
            call.result()
    return mishaps


def drain(database: Database) -> None:
    """Until nothing is queued, however much has piled up; fails when nothing ends for a minute."""
    while left := database.value("select count(*) from zmesh.queue"):
        fewer = partial(database.rows, "select 1 from zmesh.queue having count(*) < %s", left)
        eventually(fewer, f"the end of one of {left} invocations")


def ends(scene: Scene, callers: Callers) -> dict[UUID, Row]:
    """All invocations, once nothing is left to do; each accepted one among them, once, with its end."""
    database = scene.parts.database
    for part in (*scene.apis, *scene.listeners):
        part.process.output()  # fails when it has ended by itself
    drain(database)
    rows = database.rows("select *, payload ->> 'n' as n from zmesh.invocations")
    by_id = {row["id"]: row for row in rows}
    assert len(by_id) == len(rows), "an invocation has two ends"
    assert {row["status"] for row in rows} <= set(FINAL)
    assert callers.promises.accepted <= by_id.keys(), "an accepted invocation was lost"
    for id, (sent, result) in callers.promises.results.items():
        assert (by_id[id]["status"], by_id[id]["result"], result) == ("success", sent, sent)
    keys = [row["idempotency_key"] for row in rows if row["idempotency_key"]]
    assert len(keys) == len(set(keys)), "a key was used for two invocations"
    assert database.rows("select * from zmesh.waiters") == []
    print(f"seed {SEED}: {len(rows)} invocations, {len(callers.promises.accepted)} promised")
    return by_id


def prepare_limits(database: Database) -> None:
    database.rows("update zmesh.settings set max_running = %s", LIMITS["platform"])
    database.rows("update zmesh.projects set max_running = %s", LIMITS["project"])
    database.rows("update zmesh.functions set retry_base_ms = 50, retry_max_ms = 500")
    database.rows("update zmesh.functions set max_concurrency = %s where slug = 'pair'", LIMITS["pair"])


def test_nothing_is_lost_doubled_or_beyond_its_limits(tmp_path: Path) -> None:
    with scene(tmp_path, "recording") as stage:
        database, platform = stage.parts.database, stage.parts.platform
        for name in ("plain", "pair"):
            platform.deploy(name, "def handler(payload, zmesh): pass")
        blog = database.project("blog")
        database.function(blog, "post")
        prepare_limits(database)
        urls = {"shop": platform.database_url, "blog": blog.url}
        callers = Callers(stage, urls, {"shop": ["plain", "pair"], "blog": ["post"]}, ms=60)
        mishaps = storm(stage, callers, SECONDS, pause=0.05)
        rows = ends(stage, callers)
        runs = read_runs(stage.records, stage.stopped_at())
    print(mishaps)
    check_runs(runs, rows)
    groups = {
        "platform": most_at_once(runs, lambda run: 1),
        "project": most_at_once(runs, lambda run: rows[run.invocation]["project_id"]),
        "pair": most_at_once(runs, lambda run: 1 if rows[run.invocation]["function"] == "pair" else None),
        "key": most_at_once(
            runs,
            lambda run: (
                (row["function_id"], row["concurrency_key"])
                if (row := rows[run.invocation])["concurrency_key"]
                else None
            ),
        ),
    }
    for name, most in groups.items():
        assert max(most.values()) <= LIMITS[name], f"more at once than the limit of a {name}: {most}"


@pytest.mark.skipif("CHAOS_SECONDS" not in os.environ, reason="make chaos runs it")
def test_real_runs_happen_as_often_as_their_attempts_at_most(tmp_path: Path) -> None:
    with scene(tmp_path, "real") as stage:
        platform = stage.parts.platform
        platform.sql("create table runs (n integer)")
        platform.deploy("plain", REAL_CODE)
        prepare_limits(stage.parts.database)
        callers = Callers(stage, {"shop": platform.database_url}, {"shop": ["plain"]}, ms=0)
        storm(stage, callers, SECONDS / 2, pause=0.2)
        rows = ends(stage, callers)
        started = {row["n"]: row["count"] for row in platform.sql("select n, count(*) from runs group by n")}
    for row in rows.values():
        count = started.get(int(row["n"]), 0)
        assert count <= row["attempt"] <= row["max_attempts"], (count, row)
        assert count >= 1 or row["status"] != "success", row
