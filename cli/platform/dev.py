"""`zmesh dev`: the whole platform on one machine, from nothing but a folder."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_urlsafe
from types import FrameType
from typing import TYPE_CHECKING

import click

from cli.access.console import is_built, sign_in_link
from cli.client import ApiError, Client
from cli.config import HOME_NAME, Connection
from cli.errors import CliError
from cli.output import progress, style
from cli.platform.home import Home, Secrets
from cli.platform.postgres import EmbeddedPostgres, PostgresError
from cli.platform.processes import NoFreePort, free_port
from cli.platform.services import Service
from cli.waiting import moving
from examples import load, setup
from support.children import dying_with_parent

if TYPE_CHECKING:
    from cli.platform.dev_session import DevSession

HOST = "127.0.0.1"
EXAMPLES = "examples"  # slug and name of the project that they live in
START_SECONDS = 60
SLOWEST_START_SECONDS = 300  # of the API and the listener; if one ends, that is noticed at once
TITLES = {"api": "API", "listener": "listener"}
STOP_SECONDS = 10
DRAIN_SECONDS = 5
WATCH_SECONDS = 0.2
RETRY_SECONDS = 60
TOKEN_SECONDS = 12 * 3600  # of the one in dev.json; what a login gives is shorter
SERVICE_VARIABLES = ("ZMESH_LOG_FORMAT", "ZMESH_LOG_LEVEL")
LISTENER_VARIABLES = (
    *("ZMESH_SLOTS", "ZMESH_SANDBOX_REQUIRED", "ZMESH_CALLBACK_NETWORKS"),
    *("ZMESH_PYTHON_INDEX_URL", "ZMESH_NPM_REGISTRY", "ZMESH_NPM_TOKEN", "ZMESH_BUILD_HOSTS"),
    *(name for proxy in ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY") for name in (proxy, proxy.lower())),
)


class Stopped(BaseException):
    """A signal asked for the end; no handler of errors may swallow it."""


class Dev:
    """One run of `zmesh dev`."""

    def __init__(
        self,
        home: Path,
        port: int,
        *,
        examples: bool,
        database_url: str | None,
        verbose: bool,
        watched: Path | None = None,
    ) -> None:
        """`watched`: a folder whose functions are deployed on every save."""
        self._watched = watched
        self._session: DevSession | None = None
        self._home = Home(home)
        self._port = port
        self._with_examples = examples
        self._database_url = database_url
        self._verbose = verbose
        self._postgres: EmbeddedPostgres | None = None
        self._services: list[Service] = []
        self._facts: dict[str, str] = {}
        self._created: dict[str, str] = {}
        self._renew_token_at = 0.0
        self._metrics_token = token_urlsafe(24)
        self._stopping = False

    def run(self) -> None:
        """Start everything, stay until SIGINT or SIGTERM, stop everything. Raises CliError."""
        self._home.open()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        try:
            self._start()
            if self._watched is not None:
                self._start_session(self._watched)
            while not self._stopping:
                self._watch()
                time.sleep(WATCH_SECONDS)
        except Stopped:
            pass
        finally:
            self._stop()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if not self._stopping:
            self._stopping = True
            raise Stopped

    # Starting

    def _start(self) -> None:
        self._claim_port()
        admin_url = self._start_database()
        self._step("Preparing the database")
        with moving("waiting for the database"):
            self._created = created = in_subprocess(
                "prepare_database",
                admin_url=admin_url,
                own_server=self._postgres is not None,
                home=str(self._home.folder),
                token_seconds=TOKEN_SECONDS,
            )
        self._renew_token_at = time.monotonic() + TOKEN_SECONDS / 2
        secrets = self._home.secrets()
        self._step("Starting the API and a listener")
        self._start_services(secrets)
        client = self._wait_for_health(secrets)
        self._facts = {
            "url": client.connection.url,
            "project_id": created["project_id"],
            "api_key": secrets.api_key,
            "token": created["token"],
            "admin_email": secrets.admin_email,
            "admin_password": secrets.admin_password,
            "database_url": created["database_url"],
            **{f"{service.name}_metrics_url": self._metrics_url(service) for service in self._services},
        }
        self._home.write_facts(self._facts)
        if self._with_examples:
            self._deploy_examples(client)
        click.echo(f"ready {client.connection.url}")
        if is_built():
            with suppress(CliError):  # `zmesh console` tells why
                # By the token: the password of secrets.json may have been changed since.
                click.echo(f"console {sign_in_link(Client(Connection(self._facts['url'], self._facts['token'])))}")
        self._print_next_steps()

    def _step(self, text: str) -> None:
        progress(f"{style('•', fg='green')} {text} ...")

    def _claim_port(self) -> None:
        """Fail early, before anything is started for nothing."""
        if self._port == 0:
            self._port = _free_port()
            return
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, self._port))
            except OSError as error:
                raise CliError(
                    f"Port {self._port} cannot be used: {(error.strerror or '').lower()}.",
                    code="port_in_use",
                    hint="Stop what uses it, or choose another with --port N (0 takes a free one).",
                ) from error

    def _start_database(self) -> str:
        """Connection string of an administrator."""
        if self._database_url:
            self._step("Using the PostgreSQL of DATABASE_URL")
            return self._database_url
        folder = self._home.folder / "postgres"
        self._step("Starting PostgreSQL" if folder.exists() else "Creating a PostgreSQL database")
        self._postgres = EmbeddedPostgres(folder)
        self._run_postgres()
        return self._postgres.admin_url

    def _run_postgres(self) -> None:
        assert self._postgres is not None
        try:
            with moving("waiting for PostgreSQL"):
                self._postgres.start()
        except PostgresError as error:
            raise CliError(str(error), code="postgres_failed") from error

    def _metrics_url(self, service: Service) -> str:
        return f"{service.admin_url}/metrics?token={self._metrics_token}"

    def _start_services(self, secrets: Secrets) -> None:
        shared = {
            "ZMESH_SECRET_KEY": secrets.secret_key,
            "ZMESH_METRICS_TOKEN": self._metrics_token,
            **_inherited(SERVICE_VARIABLES),
        }
        api = {
            **shared,
            "DATABASE_URL": self._created["api_url"],
            "JWT_SECRET_KEY": secrets.jwt_secret_key,
            "ZMESH_HOST": HOST,
            "ZMESH_PORT": str(self._port),
        }
        listener = {
            **shared,
            "DATABASE_URL": self._created["listener_url"],
            "ZMESH_RUN_DIR": str(self._home.runs),
            "ZMESH_LAYERS_DIR": str(self._home.layers),
            "ZMESH_DRAIN_SECONDS": str(DRAIN_SECONDS),
            **_inherited(LISTENER_VARIABLES),
        }
        for name, environment in (("api", api), ("listener", listener)):
            environment["ZMESH_ADMIN_PORT"] = str(_free_port())
            service = Service(name, environment, self._home.logs / f"{name}.log", verbose=self._verbose)
            self._services.append(service)
            service.start()

    def _wait_for_health(self, secrets: Secrets) -> Client:
        """A client of the API, once that answers and a listener is at work. Raises CliError."""
        with moving("waiting for the API to answer, and for a listener to try out its sandbox"):
            return self._healthy_client(secrets)

    def _healthy_client(self, secrets: Secrets) -> Client:
        api = self._services[0]
        deadline = time.monotonic() + SLOWEST_START_SECONDS
        while time.monotonic() < deadline:
            for service in self._services:
                if service.pid is None:
                    raise _did_not_start(service)
            if api.announcement and all(service.admin_url for service in self._services):
                url = api.announcement.removeprefix("listening ")
                credentials = {"email": secrets.admin_email, "password": secrets.admin_password}
                client = Client(Connection(url, credentials=credentials))
                with suppress(CliError):
                    if client.call_anonymously("GET", "/health").body["listeners"] > 0:
                        return client
            time.sleep(0.05)
        raise _is_late(self._services[1] if api.announcement else api)

    def _renew_token(self) -> None:
        """Write dev.json with a fresh token, and note when the next one is due."""
        whom = {name: self._created[name] for name in ("user_id", "project_id")}
        self._facts |= in_subprocess("issue_token", home=str(self._home.folder), seconds=TOKEN_SECONDS, **whom)
        self._home.write_facts(self._facts)
        self._renew_token_at = time.monotonic() + TOKEN_SECONDS / 2

    def _deploy_examples(self, client: Client) -> None:
        """Into a project of their own, each once."""
        state = self._home.examples()
        missing = [example for example in load() if example.name not in state.deployed]
        if not missing and state.have_tables:
            return
        self._step(f"Deploying {len(missing)} examples into the project {EXAMPLES}")
        state.project_id = state.project_id or _project_of_examples(client)
        theirs = Client(client.connection, state.project_id)
        for example in missing:
            body = {"name": example.name, **example.source, **example.settings}
            with _ignore_name_taken():
                theirs.call("POST", "/functions", body)
        state.deployed |= {example.name for example in missing}
        self._home.remember(state)
        if not state.have_tables:
            self._make_tables(theirs)
            state.have_tables = True
            self._home.remember(state)

    def _make_tables(self, theirs: Client) -> None:
        for name, payload in setup():
            try:
                theirs.call("POST", f"/functions/{name}/invoke", {"payload": payload}, seconds=START_SECONDS)
            except ApiError as error:
                if error.code != "function_not_found":  # deleted by a person: then nobody needs its table
                    progress(
                        f"{style('!', fg='yellow')} {name}, which creates the tables of the examples, failed: {error}"
                    )

    def _print_next_steps(self) -> None:
        names = style("email, password and API key are in", dim=True)
        progress(f"\nzMesh runs at {style(self._facts['url'], bold=True)}  {names} {self._home.facts_file}")
        if self._watched is None or self._with_examples:
            self._print_commands()
        progress(style(f"Logs are in {self._home.logs}. Ctrl+C stops everything.", dim=True))

    def _print_commands(self) -> None:
        progress("\nNext, in another terminal:")
        if shutil.which("zmesh") is None:
            progress(f"  source {sys.prefix}/bin/activate")
        if self._home.folder != Path.cwd() / HOME_NAME:
            progress(f"  export ZMESH_HOME={self._home.folder}")
        if self._with_examples:
            progress(
                f"  zmesh functions list --project {EXAMPLES}\n"
                f'  zmesh functions invoke send-welcome --data \'{{"user_id": "abc123"}}\' --project {EXAMPLES}\n'
                f"  zmesh functions logs send-welcome --project {EXAMPLES}"
            )
        if self._watched is None:
            progress("  zmesh init hello && zmesh deploy hello\n")

    def _start_session(self, folder: Path) -> None:
        from cli.platform.dev_session import DevSession

        secrets = self._home.secrets()
        credentials = {"email": secrets.admin_email, "password": secrets.admin_password}
        self._session = DevSession(
            lambda: Connection(self._facts["url"], self._facts["token"], credentials=credentials), folder
        )
        self._session.start()

    # While it runs, and the end

    def _watch(self) -> None:
        for service in self._services:
            if news := service.keep_alive():
                progress(f"{style('!', fg='yellow')} {news}")
        if self._postgres is not None and self._postgres.pid is None:
            before = self._postgres.admin_url
            progress(f"{style('!', fg='yellow')} PostgreSQL exited; restarting it.")
            self._run_postgres()
            if self._postgres.admin_url != before:
                raise CliError("PostgreSQL's port was taken by another program.", code="postgres_failed")
        if time.monotonic() > self._renew_token_at:
            self._renew_token_at += RETRY_SECONDS
            with suppress(CliError):  # half of its life is left
                self._renew_token()

    def _stop(self) -> None:
        self._stopping = True
        if self._session is not None:
            self._session.stop()
        if self._services or self._postgres:
            progress("Stopping ...")
        for service in self._services:
            service.request_stop()
        deadline = time.monotonic() + STOP_SECONDS
        for service in self._services:
            service.stop(deadline - time.monotonic())
        if self._postgres is not None:
            self._postgres.stop()


def _free_port() -> int:
    try:
        return free_port()
    except NoFreePort as error:
        raise CliError(str(error), code="port_in_use", hint="Stop some of the programs that listen there.") from error


def _inherited(names: Sequence[str]) -> dict[str, str]:
    return {name: os.environ[name] for name in names if name in os.environ}


def in_subprocess(action: str, **arguments: object) -> dict[str, str]:
    """The answer of an action of cli/platform/preparing.py, which a process of its own carries out. Raises CliError."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", "from cli.platform.preparing import main; main()"],
        input=json.dumps([action, arguments]).encode(),
        capture_output=True,
        start_new_session=True,  # Ctrl+C is for us
        preexec_fn=dying_with_parent(signal.SIGKILL),
    )
    if done.stderr:
        progress(done.stderr.decode(errors="replace").removesuffix("\n"))
    if done.returncode != 0:
        raise CliError(f"{action} ended with status {done.returncode}; its output is above.", code="start_failed")
    outcome, said = json.loads(done.stdout)
    if outcome == "failed":
        raise CliError(said["message"], code=said["code"], hint=said["hint"])
    answer: dict[str, str] = said
    return answer


def _project_of_examples(client: Client) -> str:
    """The id of the examples' project, created where there is none. Raises CliError."""
    with _ignore_name_taken():
        created: str = client.call("POST", "/projects", {"name": EXAMPLES}).body["id"]
        return created
    for project in client.items("/projects"):
        if project["slug"] == EXAMPLES:
            return str(project["id"])
    raise CliError(
        f"The project {EXAMPLES} in this database belongs to somebody else.",
        code="examples_taken",
        hint="Start with --no-examples.",
    )


@contextmanager
def _ignore_name_taken() -> Iterator[None]:
    """A name that is taken is not an error: the existing object is kept as it is."""
    try:
        yield
    except ApiError as error:
        if error.code != "name_taken":
            raise


def _did_not_start(service: Service) -> CliError:
    return CliError(
        f"The {TITLES[service.name]} did not start. Its last output:\n{service.last_output()}",
        code="start_failed",
        hint=f"The full log is in {service.log}.",
    )


def _is_late(service: Service) -> CliError:
    what = "answer" if service.name == "api" else "register"
    return CliError(
        f"The {TITLES[service.name]} is running, but did not {what} within {SLOWEST_START_SECONDS} s. "
        f"Its last output:\n{service.last_output()}",
        code="start_failed",
        hint=f"The full log is in {service.log}. If this machine is busy, start again.",
    )
