"""Parts that die in mid-work: nothing that was accepted is lost, and everybody learns what happened."""

from __future__ import annotations

import os
import secrets
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli.platform.postgres import EmbeddedPostgres
from tests.own_server import own_server
from tests.platform import SERVICES, Parts, eventually

# Leaves a row when it starts; the first attempt then never ends by itself.
PATIENT = """
import time

def handler(payload, zmesh):
    zmesh.db.insert("starts", {"name": payload["name"]})
    if zmesh.db.query_one("select count(*) from starts where name = %s", [payload["name"]])["count"] == 1:
        time.sleep(600)
    return "done at the second attempt"
"""
QUICK = "def handler(payload, zmesh):\n    return payload\n"


def deploy_patient(parts: Parts) -> None:
    parts.platform.sql("create table starts (name text)")
    parts.platform.deploy("patient", PATIENT, timeout_ms=900_000)


def wait_for_start(parts: Parts, name: str) -> None:
    eventually(lambda: parts.platform.sql("select 1 from starts where name = %s", name), f"the start of {name}")


def end_after_a_kill(parts: Parts, max_attempts: int) -> dict[str, Any]:
    """How an invocation ends whose listener is killed in mid-run, with another listener there."""
    deploy_patient(parts)
    victim = parts.start_listener()
    id = parts.platform.enqueue("patient", {"name": "left"}, max_attempts=max_attempts)
    wait_for_start(parts, "left")
    victim.kill()
    parts.start_listener()
    return parts.platform.ended(id)


def test_a_killed_listeners_job_runs_again_while_it_has_attempts(parts: Parts) -> None:
    ended = end_after_a_kill(parts, max_attempts=2)
    assert (ended["status"], ended["result"]) == ("success", "done at the second attempt")
    assert ended["attempt"] == 2


def test_a_killed_listeners_job_with_one_attempt_ends_as_lost(parts: Parts) -> None:
    ended = end_after_a_kill(parts, max_attempts=1)
    assert (ended["status"], ended["error"]["type"]) == ("error", "listener_lost")
    assert parts.platform.sql("select count(*) from starts") == [{"count": 1}]


def test_a_caller_who_waits_learns_that_the_listener_was_lost(parts: Parts) -> None:
    deploy_patient(parts)
    victim = parts.start_listener()
    with ThreadPoolExecutor() as threads:
        call = threads.submit(parts.platform.invoke, "patient", {"name": "waited"})
        wait_for_start(parts, "waited")
        victim.kill()
        parts.start_listener()
        answer = call.result()
    assert answer.status_code == 500
    assert answer.json()["error"]["type"] == "listener_lost"


def test_nothing_a_killed_listener_started_lives_on(parts: Parts) -> None:
    parts.platform.sql("create table pids (pid integer)")
    marker = secrets.token_hex(8)
    parts.platform.deploy(
        "parent",
        "import subprocess\n"
        "def handler(payload, zmesh):\n"
        f"    child = subprocess.Popen(['sleep', '600.{int(marker, 16)}'])\n"
        "    zmesh.db.insert('pids', {'pid': child.pid})\n"
        "    child.wait()\n",
        timeout_ms=900_000,
    )
    victim = parts.start_listener()
    parts.platform.enqueue("parent", max_attempts=1)
    eventually(lambda: parts.platform.sql("select 1 from pids"), "the run's child to start")
    assert _commands_with(f"600.{int(marker, 16)}")
    victim.kill()
    eventually(lambda: not _commands_with(f"600.{int(marker, 16)}"), "the end of the run's child", 10)


def test_a_stopped_listener_lets_its_runs_end(parts: Parts) -> None:
    parts.platform.sql("create table starts (name text)")
    parts.platform.deploy(
        "two-seconds",
        "import time\n"
        "def handler(payload, zmesh):\n"
        "    zmesh.db.insert('starts', {'name': 'slow'})\n"
        "    time.sleep(2)\n"
        "    return 'finished'\n",
    )
    listener = parts.start_listener(lease_seconds=10, ZMESH_DRAIN_SECONDS="20")
    id = parts.platform.enqueue("two-seconds", max_attempts=1)
    wait_for_start(parts, "slow")
    listener.stop()
    assert parts.platform.ended(id)["result"] == "finished"


def test_two_listeners_share_the_work_and_run_each_job_once(parts: Parts) -> None:
    parts.platform.sql("create table runs (n integer)")
    parts.platform.deploy("record", "def handler(payload, zmesh):\n    zmesh.db.insert('runs', {'n': payload['n']})\n")
    for _ in range(2):
        parts.start_listener(lease_seconds=20)
    parts.platform.sql(
        "insert into zmesh.invocations (function, payload)"
        " select 'record', jsonb_build_object('n', n) from generate_series(1, 100) n"
    )
    eventually(
        lambda: parts.platform.sql("select 1 from zmesh.invocations having bool_and(status = 'success')"),
        "the end of all runs",
    )
    assert parts.platform.sql("select count(*), count(distinct n) as numbers from runs") == [
        {"count": 100, "numbers": 100}
    ]


@pytest.fixture(scope="module")
def own_platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[EmbeddedPostgres, Parts]]:
    """A PostgreSQL that these tests may stop, with an API and a listener over it."""
    folder = tmp_path_factory.mktemp("own")
    with own_server(folder) as (postgres, database), Parts(database, folder, forks=SERVICES) as parts:
        parts.start_listener(lease_seconds=30)
        yield postgres, parts


def test_the_platform_recovers_after_postgres_was_unreachable(own_platform: tuple[EmbeddedPostgres, Parts]) -> None:
    postgres, parts = own_platform
    parts.platform.deploy("quick", QUICK)
    accepted = parts.platform.enqueue("quick", {"n": 1}, run_at="now")
    assert parts.platform.ended(accepted)["status"] == "success"
    later = parts.platform.enqueue("quick", {"n": 2}, run_at=_in_seconds(parts, 3))
    postgres.stop()
    unavailable = eventually(lambda: _problem(parts), "a clear answer while PostgreSQL is away")
    assert unavailable.status_code == 503
    assert unavailable.headers["content-type"].startswith("application/problem+json")
    assert parts.platform.client.get(f"{parts.platform.url}/health").status_code == 503
    time.sleep(3)  # the outage itself
    postgres.start()
    assert parts.platform.ended(later)["result"] == {"n": 2}
    assert parts.platform.result("quick", {"n": 3}) == {"n": 3}
    assert parts.platform.client.get(f"{parts.platform.url}/health").status_code == 200


def test_a_run_survives_a_short_outage_of_postgres(own_platform: tuple[EmbeddedPostgres, Parts]) -> None:
    postgres, parts = own_platform
    parts.platform.deploy("slow", "import time\ndef handler(payload, zmesh):\n    time.sleep(4)\n    return 'kept'\n")
    id = parts.platform.enqueue("slow", max_attempts=1)
    eventually(
        lambda: parts.platform.sql("select 1 from zmesh.invocations where status = 'running'"),
        "the start of the run",
    )
    postgres.stop()
    time.sleep(5)  # the run ends while nobody can write its result
    postgres.start()
    ended = parts.platform.ended(id)
    assert (ended["status"], ended["result"], ended["error"], ended["attempt"]) == ("success", "kept", None, 1)


def test_the_platform_goes_on_after_postgres_stood_still(own_platform: tuple[EmbeddedPostgres, Parts]) -> None:
    postgres, parts = own_platform
    parts.platform.deploy("quick", QUICK)
    pids = _family(postgres.pid or 0)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(4)  # the standstill itself
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    assert parts.platform.result("quick", {"n": 1}) == {"n": 1}


def _in_seconds(parts: Parts, seconds: int) -> Any:
    [row] = parts.platform.sql("select now() + make_interval(secs => %s) as at", seconds)
    return row["at"]


def _problem(parts: Parts) -> httpx.Response | None:
    answer = parts.platform.invoke("quick", {})
    return None if answer.is_success else answer


def _commands_with(text: str) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                command = (folder / "cmdline").read_bytes()
            except OSError:
                continue
            if text.encode() in command:
                found.append(int(folder.name))
    return found


def _family(pid: int) -> list[int]:
    """The process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]
