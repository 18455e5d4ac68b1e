"""The API as a process, and what a test does with it as a person or a program of one project."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import argon2
import httpx
import jwt
import psycopg

from sql import accounts
from support.api_keys import key_hash, listed_prefix, new_api_key
from tests.databases import Database, Row, TestProject
from tests.forks import Forked
from tests.platform import SERVICES, clean_environment

REPOSITORY = Path(__file__).parent.parent.parent
JWT_KEY = "a key for tests that is long enough for every algorithm of the HMAC family there is"
PASSWORD = "pw"
PASSWORD_HASH = argon2.PasswordHasher().hash(PASSWORD)  # once: it takes its time
START_SECONDS = 30
ECHO = "def handler(payload, zmesh):\n    return payload\n"
Answerer = Callable[[Row], dict[str, Any] | None]


class ApiProcess:
    """`zmesh api` over a database."""

    def __init__(self, database: Database, log: Path, prefix: Sequence[str] = (), **environment: str) -> None:
        """`prefix` is a command that starts it in another way, such as prlimit."""
        self.log = log
        ours = {
            "DATABASE_URL": database.api_url,
            "JWT_SECRET_KEY": JWT_KEY,
            "ZMESH_SECRET_KEY": database.secret_key,
            "ZMESH_PORT": "0",
        }
        variables = {**clean_environment(), **ours, **environment}
        self.popen: subprocess.Popen[bytes] | Forked
        with log.open("ab") as output, open(os.devnull, "rb") as nothing:
            if prefix:
                command = [*prefix, sys.executable, "-m", "api.main"]
                self.popen = subprocess.Popen(command, stdout=output, stderr=output, cwd=REPOSITORY, env=variables)
            else:
                self.popen = SERVICES.start(["api"], cwd=REPOSITORY, env=variables, streams=(nothing, output, output))
        self.url = self._address()

    def _address(self) -> str:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            for line in self.log.read_text().splitlines():
                if line.startswith("listening "):
                    return line.split()[1]
            assert self.popen.poll() is None, self.log.read_text()
            time.sleep(0.02)
        raise AssertionError(f"the API did not start: {self.log.read_text()}")

    def terminate(self) -> None:
        self.popen.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        if self.popen.poll() is None:
            self.terminate()
            self.popen.wait(30)


@dataclass
class Api:
    """A separate project, its owner's token and its API key."""

    database: Database
    url: str
    project: TestProject
    key: str
    token: str
    user_id: UUID
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=30))

    @classmethod
    def create(cls, database: Database, url: str, name: str) -> Api:
        project = database.project(name)
        key = new_api_key()
        with psycopg.connect(database.admin_url, autocommit=True) as connection:
            accounts.ensure_api_key(connection, project.id, "default", listed_prefix(key), key_hash(key))
            user_id = database.value(
                "insert into zmesh.users (email, password_hash) values (%s, %s) returning id",
                f"{name}@example.org",
                PASSWORD_HASH,
            )
            accounts.ensure_member(connection, user_id, project.id, "owner")
            accounts.ensure_member(connection, _somebody(database), project.id, "owner")  # one always stays
        return cls(database, url, project, key, new_token(user_id, project.id), user_id)

    def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        """A request as a person."""
        headers = {"authorization": f"Bearer {self.token}", **options.pop("headers", {})}
        return self.client.request(method, self.url + path, headers=headers, **options)

    def deploy(self, name: str = "greet", **values: Any) -> dict[str, Any]:
        answer = self.call("POST", "/functions", json={"name": name, "language": "python", "code": ECHO, **values})
        assert answer.status_code == 201, answer.text
        created: dict[str, Any] = answer.json()
        return created

    def invoke(self, path: str = "greet", method: str = "POST", **options: Any) -> httpx.Response:
        """A request to the public route with the API key."""
        headers = {"x-api-key": self.key, **options.pop("headers", {})}
        return self.client.request(method, f"{self.url}/api/functions/{path}", headers=headers, **options)

    def change_role(self, role: str) -> None:
        self.database.rows("update zmesh.memberships set role = %s where user_id = %s", role, self.user_id)


def _somebody(database: Database) -> UUID:
    """An owner of every project, so that tests may take the role of the other one away."""
    email = "somebody.else@example.org"
    database.rows(
        "insert into zmesh.users (email, password_hash) values (%s, %s) on conflict (lower(email)) do nothing",
        email,
        PASSWORD_HASH,
    )
    id: UUID = database.value("select id from zmesh.users where email = %s", email)
    return id


def new_token(user_id: object, project_id: object, lifetime: float = 600, key: str = JWT_KEY) -> str:
    claims = {"sub": str(user_id), "project": str(project_id), "exp": time.time() + lifetime}
    return jwt.encode(claims, key, algorithm="HS256")


def echo(job: Row) -> dict[str, Any]:
    """The answer of a function that returns its payload."""
    return {"status": "success", "result": job["payload"]}


@contextmanager
def standing_in(api: Api, answer: Answerer = echo) -> Iterator[list[Row]]:
    """A listener without a sandbox: `answer` says how a job ends, None leaves it running. Yields the project's
    jobs, oldest first; those of other tests' projects end as well."""
    stop = threading.Event()
    jobs: list[Row] = []
    thread = threading.Thread(target=_work, args=(api, answer, jobs, stop))
    thread.start()
    try:
        yield jobs
    finally:
        stop.set()
        thread.join()


def _work(api: Api, answer: Answerer, jobs: list[Row], stop: threading.Event) -> None:
    database = api.database
    listener = database.listener(100, "1 hour")
    with psycopg.connect(database.listener_url, autocommit=True) as wakeups:
        wakeups.execute("listen zmesh_queue")
        while not stop.is_set():
            claimed = database.claim(listener, 100)
            for job in claimed:
                outcome = _outcome(api, job, answer, jobs)
                if outcome is not None:
                    database.finish(listener, job, **outcome)
            if not claimed:
                list(wakeups.notifies(timeout=0.1, stop_after=1))


def _outcome(api: Api, job: Row, answer: Answerer, jobs: list[Row]) -> dict[str, Any] | None:
    """Jobs that tests before left in the queue are none of the answerer's: it may not know their payloads."""
    if job["project_id"] != api.project.id:
        return echo(job)
    jobs.append(job)
    return answer(job)


def response(status: int, headers: dict[str, Any], body_base64: str) -> dict[str, Any]:
    """How a job ends that returned zmesh.response()."""
    text = json.dumps({"status": status, "headers": headers, "body_base64": body_base64})
    return {"status": "success", "response": text}


def eventually(found: Callable[[], Any], what: str, seconds: float = 20) -> Any:
    """The first true value; fails with `what` when none comes in time."""
    deadline = time.monotonic() + seconds
    while True:
        with suppress(httpx.HTTPError, psycopg.OperationalError):
            if value := found():
                return value
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)


def refused(answer: httpx.Response, status: int, code: str, field: str | None = None) -> dict[str, Any]:
    """The problem document of a refused request."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert (problem["status"], problem["code"]) == (status, code), problem
    assert {"type", "title", "detail"} <= problem.keys()
    if field is not None:
        assert field in [error["field"] for error in problem["errors"]], problem
    return problem
