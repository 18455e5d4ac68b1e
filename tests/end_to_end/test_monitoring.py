"""What operators see of a platform that runs: metrics that count what happened, readiness, and logs for programs."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import httpx
import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.databases import Database
from tests.platform import Parts, Process, eventually

TOKEN = secrets.token_urlsafe(24)
ADMIN = {"ZMESH_ADMIN_PORT": "0", "ZMESH_METRICS_TOKEN": TOKEN}
FOR_PROGRAMS = {"ZMESH_LOG_FORMAT": "json", "ZMESH_LOG_LEVEL": "debug"}
ECHO = "def handler(payload, zmesh):\n    return payload\n"
ECHO_JS = "exports.handler = (payload) => payload;"
FAILS = "def handler(payload, zmesh):\n    raise ValueError('no')\n"
NAMED_AS_A_LIMIT = "class nothing_limit(Exception): pass\ndef handler(payload, zmesh):\n    raise nothing_limit\n"
# All at once, and outside of what Python counts: the supervisor has to end it.
GREEDY = """
import ctypes, mmap

def handler(payload, zmesh):
    block = mmap.mmap(-1, 400 * 2**20)
    for start in range(0, 400 * 2**20, 4096):
        block[start] = 1
"""
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
    parts.start_listener()
    eventually(lambda: depth("ready_background") == 0, "the end of the queue")
    eventually(lambda: port.get("/ready").json()["checks"]["clock"] == {"status": "ok"}, "a clock")


def test_without_its_database_the_api_is_not_ready_and_says_so(
    database: Database, server: str, parts_with_admin_port: Parts
) -> None:
    parts = parts_with_admin_port
    ports = (AdminPort.of(parts.api),)
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
    assert ports[0].value("zmesh_database_errors_total", duty="queries") > 0


def test_a_database_of_an_older_version_is_named(database: Database, parts_with_admin_port: Parts) -> None:
    port = AdminPort.of(parts_with_admin_port.api)
    assert port.get("/ready").status_code == 200
    [script] = database.rows("select name from zmesh.migrations where name like 'routines/%' order by name limit 1")
    database.rows("delete from zmesh.migrations where name = %s", script["name"])
    answer = eventually(lambda: (a := port.get("/ready")).status_code == 503 and a, "503")
    assert answer.json()["checks"]["schema"]["reason"] == "older than this process: run zmesh migrate"


@pytest.fixture
def parts_with_admin_port(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    with Parts(database, tmp_path_factory.mktemp("parts"), **ADMIN) as parts:
        yield parts
