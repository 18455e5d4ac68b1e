"""The whole product, running: `zmesh dev` in a separate folder, or its parts as separate processes."""

from __future__ import annotations

import copy
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self, TypeVar

import httpx
import psycopg
from psycopg.rows import dict_row

from cli.platform.bootstrap import bootstrap
from support.api_keys import new_api_key
from support.sealing import Sealer
from tests.databases import Database
from tests.forks import Forked, Forks

REPOSITORY = Path(__file__).parent.parent
ZMESH = [sys.executable, "-c", "from cli.main import main; raise SystemExit(main())"]
START_SECONDS = 90
STOP_SECONDS = 30
FINAL = ("success", "error", "timeout", "cancelled")
T = TypeVar("T")


def eventually(found: Callable[[], T | None], what: str, seconds: float = 60) -> T:
    """The first value that is true; fails with `what` when none comes in time."""
    deadline = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < deadline, f"waited {seconds} s in vain for {what}"
        time.sleep(0.05)
    return value


def clean_environment() -> dict[str, str]:
    """The environment without any variable that configures the platform."""
    ours = ("ZMESH_", "DATABASE_URL", "JWT_SECRET_KEY", "PYTEST_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**environment, "PYTHONPATH": str(REPOSITORY), "NO_COLOR": "1"}


COMMANDS = Forks(clean_environment(), "cli.main", "cli.root", "rich.console", "rich.syntax", "rich.table")
SERVICES = Forks(clean_environment(), "cli.main", "cli.root", "api.main", "listener.main")


class Process:
    """A part of the product as a process; its output goes to a file."""

    def __init__(
        self,
        arguments: list[str],
        log: Path,
        environment: Mapping[str, str],
        cwd: Path,
        prefix: Sequence[str] = (),
        program: Sequence[str] = ZMESH,
        forks: Forks | None = None,
    ) -> None:
        """`zmesh` with these arguments; `prefix` is a command that starts it in another way, such as setpriv.

        With `forks`, it is one of them.
        """
        self.log = log
        variables = {**clean_environment(), **environment}
        self._popen: subprocess.Popen[bytes] | Forked
        with log.open("ab") as output, open(os.devnull, "rb") as nothing:
            if forks is None:
                command = [*prefix, *program, *arguments]
                self._popen = subprocess.Popen(command, stdout=output, stderr=output, env=variables, cwd=cwd)
            else:
                self._popen = forks.start(arguments, cwd=cwd, env=variables, streams=(nothing, output, output))
        self.pid = self._popen.pid

    def output(self) -> str:
        """What it has printed so far; fails when the process has ended."""
        said = self.log.read_text("utf-8", "replace")
        assert self._popen.poll() is None, f"ended with status {self._popen.poll()}:\n{said[-4000:]}"
        return said

    def line(self, start: str) -> str:
        """The first line of output that starts so, once it is there."""

        def look() -> str | None:
            return next((line for line in self.output().splitlines() if line.startswith(start)), None)

        return eventually(look, f"the line “{start}…” in {self.log}", START_SECONDS)

    def alive(self) -> bool:
        return self._popen.poll() is None

    def signal(self, number: int) -> None:
        self._popen.send_signal(number)

    def wait(self) -> int:
        """The exit status, once it has ended by itself."""
        return self._popen.wait(START_SECONDS)

    def kill(self) -> None:
        """SIGKILL: no chance to say goodbye."""
        self._popen.kill()
        self._popen.wait()

    def stop(self) -> None:
        """SIGTERM, and wait for the orderly end."""
        if self._popen.poll() is None:
            self._popen.send_signal(signal.SIGCONT)
            self._popen.terminate()
            try:
                self._popen.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
                raise


@dataclass
class Platform:
    """What a person has in hand: addresses and credentials, and the things they do with them."""

    url: str
    project_id: str
    api_key: str
    token: str
    database_url: str
    folder: Path  # where `zmesh` commands run
    refresh_token: str = ""
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=90))

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """An HTTP request as a dashboard user, whose token is renewed where tests last longer than it."""
        given = options.pop("headers", {})
        answer = self._send(method, path, given, options)
        if self.refresh_token and answer.status_code == 401 and answer.json()["code"] == "token_expired":
            session = self.client.post(f"{self.url}/auth/refresh", json={"refresh_token": self.refresh_token}).json()
            self.token, self.refresh_token = session["token"], session["refresh_token"]
            answer = self._send(method, path, given, options)
        return answer

    def _send(self, method: str, path: str, given: Mapping[str, str], options: Mapping[str, Any]) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.token}", **given}
        return self.client.request(method, self.url + path, headers=headers, **options)

    def in_project(self, slug: str) -> Platform:
        """The same person in another project of theirs, with a key of that project."""
        project = next(item for item in self.request("GET", "/projects").json()["items"] if item["slug"] == slug)
        there = replace(self, project_id=project["id"], refresh_token="")
        there.token = self.request("POST", "/auth/switch", json={"project": project["id"]}).json()["token"]
        there.api_key = there.request("POST", "/keys", json={"name": "tests"}).json()["key"]
        there.database_url = there.request("GET", f"/projects/{project['id']}/database").json()["database_url"]
        return there

    def deploy(self, name: str, code: str, language: str = "python", **settings: Any) -> dict[str, Any]:
        """Create the function, or update the one of this name."""
        wanted = {"code": code, "language": language, **settings}
        answer = self.request("POST", "/functions", json={"name": name, **wanted})
        if answer.status_code == 409:
            answer = self.request("PATCH", f"/functions/{name}", json=wanted)
        assert answer.is_success, answer.text
        function: dict[str, Any] = answer.json()
        return function

    def invoke(self, slug: str, payload: Any = None, **options: Any) -> httpx.Response:
        """POST /api/functions/{slug} with the API key."""
        headers = {"x-api-key": self.api_key, **options.pop("headers", {})}
        if "content" not in options:
            options["json"] = {} if payload is None else payload
        return self.client.post(f"{self.url}/api/functions/{slug}", headers=headers, **options)

    def result(self, slug: str, payload: Any = None) -> Any:
        """The result of a call that must succeed."""
        answer = self.invoke(slug, payload)
        assert answer.status_code == 200, answer.text
        return answer.json()["result"]

    def enqueue(self, slug: str, payload: Any = None, **columns: Any) -> str:
        """An INSERT by SQL as the project's role; returns the invocation's id."""
        values = {"function": slug, "payload": json.dumps({} if payload is None else payload), **columns}
        names, marks = ", ".join(values), ", ".join(["%s"] * len(values))
        [row] = self.sql(f"insert into zmesh.invocations ({names}) values ({marks}) returning id", *values.values())
        return str(row["id"])

    def ended(self, id: str, seconds: float = 60) -> dict[str, Any]:
        """The invocation once it has reached its end."""

        def look() -> dict[str, Any] | None:
            answer = self.request("GET", f"/invocations/{id}")
            assert answer.is_success, answer.text
            invocation: dict[str, Any] = answer.json()
            return invocation if invocation["status"] in FINAL else None

        return eventually(look, f"the end of invocation {id}", seconds)

    def history(self, function: str) -> list[dict[str, Any]]:
        """Invocations of a function, the newest first."""
        items: list[dict[str, Any]] = self.request("GET", f"/functions/{function}/invocations").json()["items"]
        return items

    def sql(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """Any SQL as the project's role."""
        with psycopg.connect(self.database_url, autocommit=True, row_factory=dict_row) as connection:
            cursor = connection.execute(query.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

    def zmesh(self, *arguments: str, status: int = 0, stdin: str = "", **environment: str) -> str:
        """A `zmesh` command that must end with this status; returns what it printed on stdout."""
        there = {"ZMESH_URL": self.url, "ZMESH_TOKEN": self.token, "ZMESH_API_KEY": self.api_key}
        done = COMMANDS.run(
            arguments, cwd=self.folder, env={**clean_environment(), **there, **environment}, stdin=stdin
        )
        assert done.returncode == status, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout if status == 0 else done.stdout + done.stderr


@contextmanager
def zmesh_dev(folder: Path, *options: str) -> Iterator[Platform]:
    """`zmesh dev` with its data under `folder/.zmesh`, until the block ends."""
    home = folder / ".zmesh"
    process = Process(
        ["dev", "--home", str(home), "--port", "0", *options], folder / f"dev-{secrets.token_hex(4)}.log", {}, folder
    )
    try:
        process.line("ready http://")
        facts = json.loads((home / "dev.json").read_text())
        names = ("url", "project_id", "api_key", "token", "database_url")
        yield Platform(**{name: facts[name] for name in names}, folder=folder)
    finally:
        process.stop()


class Parts:
    """One API and any number of listeners as separate processes over one database."""

    def __init__(self, database: Database, folder: Path, *, forks: Forks | None = None, **api_settings: str) -> None:
        """With `forks`, all processes are some of them, except those of other commands."""
        self.database = database
        self._forks = forks
        self.folder = folder
        self.jwt_key = secrets.token_urlsafe(32)
        self._environment = {"ZMESH_SECRET_KEY": database.secret_key, "JWT_SECRET_KEY": self.jwt_key}
        self.processes: list[Process] = []
        self.api = self.start("api", DATABASE_URL=database.api_url, ZMESH_PORT="0", **api_settings)
        self.platform = self.project_of("ada", "shop")

    @contextmanager
    def for_a_test(self, folder: Path) -> Iterator[Parts]:
        """The same API with another project, and with listeners that are stopped when the block ends."""
        parts = copy.copy(self)
        parts.folder, parts.processes = folder, [self.api]
        parts.platform = parts.project_of(f"person-{secrets.token_hex(4)}")
        try:
            yield parts
        finally:
            for process in reversed(parts.processes[1:]):
                process.stop()

    def project_of(self, person: str, project: str | None = None) -> Platform:
        """The platform as the administrator of a new project sees it, which is named as the person unless told."""
        password, key, email = secrets.token_urlsafe(16), new_api_key(), f"{person}@example.com"
        ready = bootstrap(
            self.database.admin_url,
            Sealer(self.database.secret_key),
            project_name=project or person,
            admin_email=email,
            admin_password=password,
            api_key=key,
        )
        self.database.roles.append(ready.project.role_name)
        url = self.api.line("listening http://").split()[1]
        login = httpx.post(f"{url}/auth/login", json={"email": email, "password": password})
        assert login.is_success, login.text
        session = login.json()
        return Platform(
            url,
            str(ready.project.id),
            key,
            session["token"],
            ready.database_url,
            self.folder,
            refresh_token=session["refresh_token"],
        )

    def start(self, part: str, command: Sequence[str] | None = None, **environment: str) -> Process:
        """`zmesh <part>`, or another command in its place, with the environment that all parts share."""
        log = self.folder / f"{part}-{len(self.processes)}.log"
        program, arguments = (ZMESH, [part]) if command is None else (command, [])
        forks = self._forks if command is None else None
        variables = {**self._environment, **environment}
        process = Process(arguments, log, variables, self.folder, program=program, forks=forks)
        self.processes.append(process)
        return process

    def start_listener(self, lease_seconds: float = 2, **environment: str) -> Process:
        """A listener that has registered; its short lease makes its death noticed soon."""
        settings = {"ZMESH_LEASE_SECONDS": str(lease_seconds), "ZMESH_SLOTS": "4", "ZMESH_DRAIN_SECONDS": "5"}
        name = f"test-{secrets.token_hex(4)}"
        process = self.start(
            "listener",
            DATABASE_URL=self.database.listener_url,
            ZMESH_LISTENER_NAME=name,
            **{**settings, **environment},
        )

        def registered() -> bool:
            process.output()
            return bool(self.database.rows("select 1 from zmesh.listeners where name = %s", name))

        eventually(registered, f"the registration of a listener, see {process.log}", START_SECONDS)
        return process

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for process in reversed(self.processes):
            process.stop()
