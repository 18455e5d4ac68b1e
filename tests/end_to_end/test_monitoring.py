"""What operators see of a platform that runs: metrics that count what happened, readiness, and logs for programs."""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import API_PASSWORD, LISTENER_PASSWORD
from tests.databases import Database
from tests.platform import SERVICES, Parts, Process, eventually

TOKEN = secrets.token_urlsafe(24)
ADMIN = {"ZMESH_ADMIN_PORT": "0", "ZMESH_METRICS_TOKEN": TOKEN}
FOR_PROGRAMS = {"ZMESH_LOG_FORMAT": "json", "ZMESH_LOG_LEVEL": "debug"}
ECHO = "def handler(payload, zmesh):\n    return payload\n"
ECHO_JS = "exports.handler = (payload) => payload;"
FAILS = "def handler(payload, zmesh):\n    raise ValueError('no')\n"
NAMED_AS_A_LIMIT = "class nothing_limit(Exception): pass\ndef handler(payload, zmesh):\n    raise nothing_limit\n"
GREEDY = "def handler(payload, zmesh):\n    return len(b'x' * (400 * 2**20))\n"
# What a function sees of the ports of its listener and API.
CURIOUS = """
import urllib.error, urllib.request

def handler(payload, zmesh):
    try:
        with urllib.request.urlopen(payload["url"], timeout=5) as answer:
            return [answer.status, answer.read().decode()]
    except urllib.error.HTTPError as error:
        return [error.code, error.read().decode()]
"""
Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


@dataclass(frozen=True)
class AdminPort:
    """The admin port of a process."""

    url: str

    @classmethod
    def of(cls, process: Process) -> AdminPort:
        return cls(process.line("admin http://").split()[1])

    def get(self, path: str, token: str | None = None) -> httpx.Response:
        return httpx.get(self.url + path, headers={"authorization": f"Bearer {token}"} if token else {}, timeout=20)

    def scrape(self) -> Samples:
        answer = self.get("/metrics", TOKEN)
        assert answer.status_code == 200, answer.text
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float:
        return self.scrape().get((name, frozenset(labels.items())), 0.0)


@dataclass(frozen=True)
class Watched:
    """A platform with admin ports."""

    parts: Parts
    api: AdminPort
    listener: AdminPort


@pytest.fixture(scope="module")
def watched(server: str, migrated: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with (
        Database.fresh(server, API_PASSWORD, LISTENER_PASSWORD, template=migrated) as database,
        Parts(database, tmp_path_factory.mktemp("watched"), forks=SERVICES, **ADMIN, **FOR_PROGRAMS) as parts,
    ):
        listener = parts.start_listener(lease_seconds=20, **ADMIN, **FOR_PROGRAMS)
        yield Watched(parts, AdminPort.of(parts.api), AdminPort.of(listener))


@contextmanager
def grown(port: AdminPort, growth: Counter[tuple[str, frozenset[tuple[str, str]]]]) -> Iterator[None]:
    """By how much each sample grew within the block."""
    before = port.scrape()
    yield
    after = port.scrape()
    growth.update(
        {key: round(value - before.get(key, 0.0)) for key, value in after.items() if value != before.get(key)}
    )


def of(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


def test_the_metrics_count_what_was_invoked(watched: Watched) -> None:
    platform = watched.parts.platform
    for name, code, language in (
        ("echo", ECHO, "python"),
        ("echo-js", ECHO_JS, "javascript"),
        ("fails", FAILS, "python"),
    ):
        platform.deploy(name, code, language)
    api: Counter[Any] = Counter()
    listener: Counter[Any] = Counter()
    with grown(watched.api, api), grown(watched.listener, listener):
        for name in ("echo", "echo", "echo", "echo-js", "fails"):
            platform.invoke(name, {"n": 1})
        platform.ended(platform.invoke("echo", {}, headers={"prefer": "respond-async"}).json()["invocation_id"])
        platform.ended(platform.enqueue("echo-js", {}))  # by SQL: the API has no part in it
    assert api[of("zmesh_invocations_accepted_total", source="api", awaited="true")] == 5
    assert api[of("zmesh_invocations_accepted_total", source="api", awaited="false")] == 1
    invoke = {"route": "/api/functions/{slug}", "method": "POST"}
    assert api[of("zmesh_http_requests_total", status="200", **invoke)] == 4
    assert api[of("zmesh_http_requests_total", status="500", **invoke)] == 1
    assert api[of("zmesh_http_requests_total", status="202", **invoke)] == 1
    assert api[of("zmesh_http_request_seconds_count", route=invoke["route"])] == 6
    assert listener[of("zmesh_attempts_started_total", language="python")] == 5
    assert listener[of("zmesh_attempts_started_total", language="javascript")] == 2
    assert listener[of("zmesh_attempts_ended_total", language="python", status="success")] == 4
    assert listener[of("zmesh_attempts_ended_total", language="python", status="error")] == 1
    assert listener[of("zmesh_attempts_ended_total", language="javascript", status="success")] == 2
    assert listener[of("zmesh_attempt_seconds_count", language="python")] == 5
    assert listener[of("zmesh_queue_seconds_count", awaited="true")] == 5
    assert listener[of("zmesh_queue_seconds_count", awaited="false")] == 2
    assert listener[of("zmesh_outcome_batch_size_sum")] == 7
    assert listener[of("zmesh_claim_size_sum")] == 7
    assert not [key for key in listener if key[0] in ("zmesh_limits_hit_total", "zmesh_platform_faults_total")]


def test_a_run_that_its_memory_limit_ended_shows_in_the_metrics(watched: Watched) -> None:
    watched.parts.platform.deploy("greedy", GREEDY, memory_mb=64)
    listener: Counter[Any] = Counter()
    with grown(watched.listener, listener):
        assert watched.parts.platform.invoke("greedy").json()["error"]["type"] == "memory_limit"
    assert listener[of("zmesh_limits_hit_total", language="python", limit="memory_limit")] == 1
    assert listener[of("zmesh_attempts_ended_total", language="python", status="error")] == 1


def test_a_function_makes_no_label_of_its_own(watched: Watched) -> None:
    platform = watched.parts.platform
    platform.deploy("secret-recipe", NAMED_AS_A_LIMIT)
    assert platform.invoke("secret-recipe").json()["error"]["type"] == "nothing_limit"
    for port in (watched.api, watched.listener):
        exposed = port.get("/metrics", TOKEN).text
        assert not [
            name for name in ("nothing_limit", "named", "shop", watched.parts.platform.project_id) if name in exposed
        ]


def test_a_function_that_connects_to_the_admin_ports_gets_no_metrics(watched: Watched) -> None:
    watched.parts.platform.deploy("curious", CURIOUS)
    for port in (watched.api, watched.listener):
        status, body = watched.parts.platform.result("curious", {"url": f"{port.url}/metrics"})
        assert (status, "zmesh_" in body) == (401, False)
        status, body = watched.parts.platform.result("curious", {"url": f"{port.url}/ready"})
        assert status == 200
        assert {"@", "postgres", "zmesh_listener", "zmesh_api"} & set(body.split('"')) == set()


def test_the_processes_show_slots_pool_sandbox_and_loop(watched: Watched) -> None:
    listener, api = watched.listener.scrape(), watched.api.scrape()
    assert listener[of("zmesh_slots")] == 4
    assert listener[of("zmesh_lease_held")] == 1
    assert [key for key in listener if key[0] == "zmesh_sandbox_info" and listener[key] == 1]
    eventually(lambda: watched.listener.value("zmesh_parked_processes", runtime="python") > 0, "a parked process")
    assert (api[of("zmesh_listeners")], api[of("zmesh_listener_slots")]) == (1, 4)
    for samples in (listener, api):
        assert samples[of("process_resident_memory_bytes")] > 2**20
        assert samples[of("zmesh_database_pool_connections", state="idle")] >= 1
        assert of("zmesh_event_loop_blocked_seconds") in samples
    assert api[of("zmesh_http_connections")] >= 1


def test_logs_for_programs_carry_the_ids_of_request_and_invocation(watched: Watched) -> None:
    platform = watched.parts.platform
    platform.deploy("echo", ECHO)
    answer = platform.invoke("echo", {}, headers={"x-request-id": "req-of-this-test"})
    id = answer.json()["invocation_id"]

    def lines(process: Process, event: str) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in process.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in found if line["event"] == event and line.get("invocation_id") == id]

    [request] = eventually(lambda: lines(watched.parts.api, "request_answered"), "the line of the request")
    assert (request["request_id"], request["status"], request["route"]) == (
        "req-of-this-test",
        200,
        "/api/functions/{slug}",
    )
    [accepted] = lines(watched.parts.api, "invocation_accepted")
    assert accepted["request_id"] == "req-of-this-test"
    [ended] = eventually(lambda: lines(watched.parts.processes[1], "attempt_ended"), "the line of the attempt")
    assert (ended["status"], ended["language"], ended["attempt"]) == ("success", "python", 1)


def test_the_queue_is_counted_while_nobody_runs_it(database: Database, parts_with_admin_port: Parts) -> None:
    parts = parts_with_admin_port
    parts.platform.deploy("echo", ECHO)
    port = AdminPort.of(parts.api)
    assert port.value("zmesh_queue_invocations", state="ready_background") == 0
    for _ in range(3):
        parts.platform.enqueue("echo")
    parts.platform.enqueue("echo", {}, run_at="2100-01-01Z")

    def depth(state: str) -> float:
        return port.value("zmesh_queue_invocations", state=state)

    eventually(lambda: depth("ready_background") == 3, "figures that are fresh")
    assert (depth("delayed"), depth("running"), port.value("zmesh_listeners")) == (1, 0, 0)
    assert port.value("zmesh_queue_oldest_ready_seconds") > 0
    assert port.get("/ready").json()["checks"]["clock"]["status"] == "failed"
    assert port.value("zmesh_schedules_overdue_seconds") == port.value("zmesh_callbacks_pending") == 0
    function = parts.platform.request("GET", "/functions/echo").json()["id"]
    schedule = {"name": "nightly", "function_id": function, "cron": "0 3 * * *"}
    assert parts.platform.request("POST", "/schedules", json=schedule).status_code == 201
    database.rows("update zmesh.schedules set next_due_at = zmesh.now() - interval '1 hour'")
    parts.platform.enqueue("echo", callback_url="https://callbacks.invalid/")
    eventually(lambda: port.value("zmesh_schedules_overdue_seconds") >= 3600, "the schedule's age")
    parts.start_listener()
    eventually(lambda: depth("ready_background") == 0, "the end of the queue")
    eventually(lambda: port.value("zmesh_callbacks_pending") == 1, "the callback")
    eventually(lambda: port.value("zmesh_schedules_overdue_seconds") == 0, "the schedule's firing")
    eventually(lambda: port.get("/ready").json()["checks"]["clock"] == {"status": "ok"}, "a clock")


def test_without_its_database_neither_process_is_ready_and_both_say_so(
    database: Database, server: str, parts_with_admin_port: Parts
) -> None:
    parts = parts_with_admin_port
    listener = parts.start_listener(**ADMIN)
    ports = AdminPort.of(parts.api), AdminPort.of(listener)
    for port in ports:
        eventually(lambda port=port: port.get("/ready").status_code == 200, "readiness")  # type: ignore[misc]
    name = database.value("select current_database()")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"alter database {name} with allow_connections false")
        connection.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", (name,))
        for port in ports:
            answer = eventually(lambda port=port: (a := port.get("/ready")).status_code == 503 and a, "503")  # type: ignore[misc]
            assert answer.json()["status"] == "not_ready"
            assert answer.json()["checks"]["database"] == {"status": "failed", "reason": "not reachable"}
            assert port.get("/health").status_code == 200
        connection.execute(f"alter database {name} with allow_connections true")
    for port in ports:
        eventually(lambda port=port: port.get("/ready").status_code == 200, "readiness again")  # type: ignore[misc]
    assert ports[1].value("zmesh_database_errors_total", duty="lease") > 0


def test_a_database_of_an_older_version_is_named(database: Database, parts_with_admin_port: Parts) -> None:
    port = AdminPort.of(parts_with_admin_port.api)
    assert port.get("/ready").status_code == 200
    [script] = database.rows("select name from zmesh.migrations where name like 'routines/%' order by name limit 1")
    database.rows("delete from zmesh.migrations where name = %s", script["name"])
    answer = eventually(lambda: (a := port.get("/ready")).status_code == 503 and a, "503")
    assert answer.json()["checks"]["schema"]["reason"] == "older than this process: run zmesh migrate"


@pytest.fixture
def parts_with_admin_port(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    with Parts(database, tmp_path_factory.mktemp("parts"), forks=SERVICES, **ADMIN) as parts:
        yield parts
