"""The API as a process: health, outages of the database, its orderly end."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import psycopg
import pytest

from api.main import GRACE_SECONDS
from tests.api.client import REPOSITORY, Api, ApiProcess, eventually, refused, standing_in
from tests.databases import Database
from tests.platform import SERVICES


class Relay:
    """A TCP relay to the database that a test can cut, and mend again: what an outage looks like to the API."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._pairs: list[socket.socket] = []
        self._listener: socket.socket | None = None
        self.port = 0
        self.mend()

    def mend(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        """Every connection ends, and new ones are refused."""
        assert self._listener is not None
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for end in self._pairs:
            _close(end)
        self._pairs.clear()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            self._pairs += [client, server]
            for ends in ((client, server), (server, client)):
                threading.Thread(target=_pump, args=ends, daemon=True).start()


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        pass
    _close(source)
    _close(target)


def _close(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()


@pytest.fixture
def relay(database: Database) -> Iterator[Relay]:
    """Between the API and the database of this test."""
    relay = Relay(psycopg.conninfo.conninfo_to_dict(database.api_url)["port"])  # type: ignore[arg-type]
    yield relay
    relay.cut()


def through(relay: Relay, url: str) -> str:
    parts = psycopg.conninfo.conninfo_to_dict(url)
    return url.replace(f":{parts['port']}/", f":{relay.port}/")


@pytest.fixture
def process(database: Database, relay: Relay, tmp_path: Path) -> Iterator[ApiProcess]:
    process = ApiProcess(database, tmp_path / "log", DATABASE_URL=through(relay, database.api_url))
    yield process
    process.stop()


@pytest.fixture
def own(database: Database, process: ApiProcess) -> Api:
    """A project on an API of this test's own."""
    return Api.create(database, process.url, f"p{secrets.token_hex(4)}")


def test_health_counts_the_listeners(own: Api) -> None:
    health = own.client.get(f"{own.url}/health").json()
    assert health.pop("event_loop_held_ms") >= 0
    assert health == {"status": "ok", "database": "ok", "listeners": 0, "listener_loop_held_ms": 0}
    own.database.listener()
    assert own.client.get(f"{own.url}/health").json()["listeners"] == 1


def test_many_who_ask_for_health_at_once_keep_nobody_waiting_for_the_database(own: Api) -> None:
    """A query for each of them took every connection to the database."""
    waiting = "select count(*) from pg_locks where not granted and relation = 'zmesh.listeners'::regclass"
    with psycopg.connect(own.database.admin_url) as holder, ThreadPoolExecutor(50) as threads:
        holder.execute("lock table zmesh.listeners in access exclusive mode")
        asked = [threads.submit(httpx.get, f"{own.url}/health", timeout=30) for _ in range(50)]
        eventually(lambda: own.database.value(waiting), "a query to wait")
        assert own.call("GET", "/functions").status_code == 200
        assert own.database.value(waiting) == 1
        holder.rollback()
        assert {answer.result().status_code for answer in asked} == {200}


def test_it_answers_503_while_the_database_is_away_and_works_again_at_once(own: Api, relay: Relay) -> None:
    own.deploy()
    relay.cut()
    for answer in (own.invoke(), own.call("GET", "/functions"), own.call("POST", "/functions", json={})):
        refused(answer, 503, "unavailable")
        assert int(answer.headers["retry-after"]) > 0
    health = own.client.get(f"{own.url}/health")
    assert (health.status_code, health.json()["database"]) == (503, "unavailable")
    time.sleep(6)  # long enough for a backoff to have grown
    relay.mend()
    mended = time.monotonic()
    eventually(lambda: own.client.get(f"{own.url}/health").status_code == 200, "the API to work again")
    assert time.monotonic() - mended < 4
    with standing_in(own):
        assert own.invoke().status_code == 200


def test_a_database_that_takes_no_writes_is_503_and_nothing_is_accepted(own: Api) -> None:
    own.deploy()
    name = own.database.value("select current_database()")

    def restart(setting: str) -> None:
        own.database.rows(f"alter role zmesh_api in database {name} {setting}")
        own.database.rows("select pg_terminate_backend(pid, 10000) from pg_stat_activity where usename = 'zmesh_api'")

    restart("set default_transaction_read_only = on")
    try:
        refused(own.invoke(headers={"prefer": "respond-async"}), 503, "unavailable")
    finally:
        restart("reset default_transaction_read_only")
    assert own.invoke(headers={"prefer": "respond-async"}).status_code == 202
    assert own.database.value("select count(*) from zmesh.queue") == 1


def test_it_starts_while_the_database_is_away(database: Database, relay: Relay, tmp_path: Path) -> None:
    relay.cut()
    process = ApiProcess(database, tmp_path / "log", DATABASE_URL=through(relay, database.api_url))
    try:
        assert httpx.get(f"{process.url}/health", timeout=10).status_code == 503
        relay.mend()
        eventually(lambda: httpx.get(f"{process.url}/health").status_code == 200, "the API to work")
    finally:
        process.stop()


def test_connections_that_died_unnoticed_fail_no_request(own: Api) -> None:
    own.deploy()
    for _ in range(3):
        own.database.rows("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'zmesh_api'")
        assert own.call("GET", "/functions").status_code == 200
        own.database.rows("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'zmesh_api'")
        assert own.call("PATCH", "/functions/greet", json={"timeout_ms": 5}).status_code == 200
        own.database.rows("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'zmesh_api'")
        assert own.invoke(headers={"prefer": "respond-async"}).status_code == 202
    assert len(own.call("GET", "/functions/greet/invocations").json()["items"]) == 3


def test_a_caller_that_waits_through_an_outage_gets_the_answer(own: Api, relay: Relay) -> None:
    own.deploy()
    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(own.invoke)
        eventually(lambda: own.database.rows("select 1 from zmesh.invocations"), "the call")
        relay.cut()
        with standing_in(own) as jobs:
            eventually(lambda: jobs, "the end of the invocation")
        time.sleep(1)  # the outage lasts on
        relay.mend()
        assert call.result().status_code == 200


def test_without_its_notifications_it_listens_again(own: Api) -> None:
    own.deploy()
    own.database.rows(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'zmesh api replies'"
    )
    eventually(
        lambda: own.database.rows(
            "select 1 from pg_stat_activity where application_name = 'zmesh api replies' and query ilike 'listen%%'"
        ),
        "the new connection",
    )
    with standing_in(own):
        started = time.monotonic()
        for _ in range(5):
            assert own.invoke().status_code == 200
        assert time.monotonic() - started < 2, "notified, not polled"


def test_a_database_that_was_not_migrated_is_503(server: str, database: Database, tmp_path: Path) -> None:
    name = f"zmesh_test_{secrets.token_hex(6)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"create database {name}")
        try:
            url = database.api_url.rsplit("/", 1)[0] + f"/{name}"
            process = ApiProcess(database, tmp_path / "log", DATABASE_URL=url)
            assert httpx.get(f"{process.url}/health", timeout=10).status_code == 503
            process.stop()
        finally:
            connection.execute(f"drop database {name} with (force)")


def test_sigterm_lets_runs_finish_and_answers_remaining_callers_with_202(own: Api, process: ApiProcess) -> None:
    own.deploy("quick")
    own.deploy("slow")

    def answer(job: dict[str, object]) -> dict[str, object] | None:
        if job["slug"] == "slow":
            return None
        while process.popen.poll() is None and not signalled.wait(0.05):
            pass
        return {"result": "1"}

    signalled = threading.Event()
    with standing_in(own, answer) as jobs, ThreadPoolExecutor(2) as threads:
        slow = threads.submit(own.invoke, "slow")
        eventually(lambda: jobs, "the slow call")
        quick = threads.submit(own.invoke, "quick")
        eventually(lambda: own.database.rows("select 1 from zmesh.invocations offset 1"), "the quick call")
        process.terminate()
        started = time.monotonic()
        signalled.set()
        assert quick.result().status_code == 200
        gone = slow.result()
        assert gone.status_code == 202
        assert gone.headers["location"] == f"/invocations/{gone.json()['invocation_id']}"
        process.popen.wait(10)
        assert time.monotonic() - started < 9
    assert process.popen.returncode == 0


def test_an_idle_process_stops_at_once_although_clients_stay_connected(own: Api, process: ApiProcess) -> None:
    own.call("GET", "/functions")  # the connection stays open
    started = time.monotonic()
    process.stop()
    assert process.popen.returncode == 0
    assert time.monotonic() - started < GRACE_SECONDS, "it waited for them"


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("DATABASE_URL", "", "DATABASE_URL"),
        ("JWT_SECRET_KEY", "", "JWT_SECRET_KEY"),
        ("ZMESH_SECRET_KEY", "short", "ZMESH_SECRET_KEY"),
        ("ZMESH_PORT", "http", "ZMESH_PORT"),
    ],
)
def test_a_wrong_setting_is_named(database: Database, variable: str, value: str, words: str) -> None:
    good = {"DATABASE_URL": database.api_url, "JWT_SECRET_KEY": "x" * 32, "ZMESH_SECRET_KEY": database.secret_key}
    environment = {**os.environ, **good, variable: value}
    done = SERVICES.run(["api"], cwd=REPOSITORY, env=environment)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_a_clear_error(database: Database, process: ApiProcess) -> None:
    port = process.url.rsplit(":", 1)[1]
    good = {"DATABASE_URL": database.api_url, "JWT_SECRET_KEY": "x" * 32, "ZMESH_SECRET_KEY": database.secret_key}
    environment = {**os.environ, **good, "ZMESH_PORT": port}
    done = SERVICES.run(["api"], cwd=REPOSITORY, env=environment)
    assert done.returncode == 1
    assert f"Cannot listen on ZMESH_HOST 127.0.0.1, ZMESH_PORT {port}: Address already in use. Stop" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_log_tells_requests_without_secrets_or_forged_lines(own: Api, process: ApiProcess) -> None:
    own.client.post(f"{own.url}/hooks/a-secret-token")
    own.call("GET", "/functions/a%0d%0aINFO forged%20line")
    forged = "/functions/a\\u000d\\u000aINFO\\u0020forged\\u0020line 404"
    eventually(lambda: forged in process.log.read_text(), "the last request in the log")
    log = process.log.read_text()
    assert "POST /hooks/*** 404" in log
    assert "a-secret-token" not in log
    assert own.token not in log
    assert own.key not in log


def test_the_process_ends_by_sigint_as_well(process: ApiProcess) -> None:
    process.popen.send_signal(signal.SIGINT)
    process.popen.wait(10)
    assert process.popen.returncode == 0
