"""`zmesh dev`: the whole platform on one machine, from nothing but a folder."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import FrameType

import psycopg
from rich.console import Console

from cli.bootstrap import Bootstrapped, bootstrap
from cli.client import Client
from cli.config import Connection
from cli.deploying import deploy
from cli.errors import CliError
from cli.home import DevFacts, Home, Secrets
from cli.postgres import EmbeddedPostgres, PostgresError
from cli.services import Service
from examples import load
from sql.accounts import role_url
from sql.errors import DomainError
from sql.migrate import MigrationError, migrate
from sql.sealing import Sealer, SealingError

HOST = "127.0.0.1"
PROJECT = "default"
HEALTH_SECONDS = 60
STOP_SECONDS = 15.0
WATCH_SECONDS = 0.2


class Dev:
    """One run of `zmesh dev`."""

    def __init__(self, folder: Path, port: int, *, examples: bool, database_url: str | None) -> None:
        self._home = Home(folder)
        self._port = port
        self._examples = examples
        self._database_url = database_url
        self._postgres: EmbeddedPostgres | None = None
        self._services: list[Service] = []
        self._console = Console(stderr=True, highlight=False)
        self._stopping = False

    def run(self) -> None:
        """Start everything, stay until SIGINT or SIGTERM, stop everything. Raises CliError."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._stop_signal)
        self._home.open()
        try:
            self._start()
            while not self._stopping:
                self._watch()
                time.sleep(WATCH_SECONDS)
        except _Stopped:
            pass
        finally:
            self._stop()

    def _stop_signal(self, number: int, frame: FrameType | None) -> None:
        if not self._stopping:
            self._stopping = True
            raise _Stopped

    # Start

    def _start(self) -> None:
        secrets = self._home.secrets()
        self._check_port()
        admin_url = self._start_database()
        self._step("Bringing the database up to date")
        made = self._prepare_database(admin_url, secrets)
        self._step("Starting the API and a listener")
        url = self._start_services(admin_url, secrets)
        client = Client(Connection(url))
        self._wait_until_healthy(client)
        token = client.log_in({"email": secrets.admin_email, "password": secrets.admin_password})["token"]
        client.connection.token = token
        if self._examples:
            self._deploy_examples(client)
        self._home.write_facts(
            DevFacts(
                url=url,
                project_id=str(made.project.id),
                api_key=secrets.api_key,
                token=token,
                admin_email=secrets.admin_email,
                admin_password=secrets.admin_password,
                database_url=made.database_url,
            )
        )
        self._announce(url, secrets)

    def _step(self, text: str) -> None:
        self._console.print(f"[green]•[/] {text} …")

    def _check_port(self) -> None:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, self._port))
            except OSError as error:
                raise CliError(
                    f"Port {self._port} cannot be used: {error.strerror}.",
                    code="port_in_use",
                    hint="Stop what uses it, or choose another with --port (0 takes a free one).",
                ) from error
            self._port = probe.getsockname()[1]

    def _start_database(self) -> str:
        if self._database_url:
            self._step("Using the PostgreSQL that DATABASE_URL names")
            return self._database_url
        self._step("Starting PostgreSQL")
        self._postgres = EmbeddedPostgres(self._home.folder / "postgres")
        try:
            self._postgres.start()
        except PostgresError as error:
            raise CliError(str(error), code="postgres_failed") from error
        return self._postgres.admin_url

    def _prepare_database(self, admin_url: str, secrets: Secrets) -> Bootstrapped:
        passwords = {"zmesh_api": secrets.api_password, "zmesh_listener": secrets.listener_password}
        try:
            migrate(admin_url, passwords=passwords, on_step=lambda step: self._console.print(f"  {step}", style="dim"))
            return bootstrap(
                admin_url,
                Sealer(secrets.secret_key),
                project_name=PROJECT,
                admin_email=secrets.admin_email,
                admin_password=secrets.admin_password,
                api_key=secrets.api_key,
            )
        except (psycopg.Error, MigrationError, DomainError, SealingError) as error:
            raise CliError(f"The database cannot be prepared: {error}", code="database_failed") from error

    def _start_services(self, admin_url: str, secrets: Secrets) -> str:
        keys = {"ZMESH_SECRET_KEY": secrets.secret_key}
        api = {
            **keys,
            "DATABASE_URL": role_url(admin_url, "zmesh_api", secrets.api_password),
            "JWT_SECRET_KEY": secrets.jwt_secret_key,
            "ZMESH_HOST": HOST,
            "ZMESH_PORT": str(self._port),
        }
        listener = {
            **keys,
            "DATABASE_URL": role_url(admin_url, "zmesh_listener", secrets.listener_password),
            "ZMESH_RUN_DIR": str(self._home.folder / "run"),
            "ZMESH_DRAIN_SECONDS": "5",
            **{name: os.environ[name] for name in ("ZMESH_SLOTS", "ZMESH_SANDBOX_REQUIRED") if name in os.environ},
        }
        self._services = [
            Service("listener", listener, self._home.logs / "listener.log", announces=False),
            Service("api", api, self._home.logs / "api.log", announces=True),
        ]
        for service in self._services:
            service.start()
        return self._services[-1].announcement.removeprefix("listening ")

    def _wait_until_healthy(self, client: Client) -> None:
        deadline = time.monotonic() + HEALTH_SECONDS
        while True:
            for service in self._services:
                if service.pid is None:
                    raise CliError(f"The {service.name} ended: {service.last_words()}", code="start_failed")
            with suppress(CliError):
                if client.call_without_credentials("GET", "/health").body["listeners"] > 0:
                    return
            if time.monotonic() > deadline:
                raise CliError(f"No listener answers: {self._services[0].last_words()}", code="start_failed")
            time.sleep(0.05)

    def _deploy_examples(self, client: Client) -> None:
        found = load()
        with self._console.status(f"Deploying {len(found)} examples"):
            for example in found:
                wanted = {"name": example.name, "language": example.language, "code": example.code, **example.settings}
                deploy(client, wanted)
        self._step(f"Deployed {len(found)} examples")

    def _announce(self, url: str, secrets: Secrets) -> None:
        print(f"ready {url}", flush=True)
        say = partial(self._console.print, soft_wrap=True)
        say(f"\n[bold]zMesh runs at {url}[/]   API key {secrets.api_key}")
        say(f"Dashboard user {secrets.admin_email}, password in {self._home.facts_file}\n")
        say("Next, in another terminal:")
        say("  zmesh functions list")
        say("""  zmesh functions invoke send-welcome --data '{"user_id": "abc123", "name": "Ada"}'""")
        say("  zmesh functions deploy ./my-function.js")
        say(f"Logs are in {self._home.logs}. Ctrl+C stops everything.", style="dim")

    # While it runs, and the end

    def _watch(self) -> None:
        for service in self._services:
            said = service.keep_alive()
            if said:
                self._console.print(f"[yellow]![/] {said}")
        if self._postgres is not None and self._postgres.pid is None:
            self._console.print("[yellow]![/] PostgreSQL ended; starting it again")
            try:
                self._postgres.start()
            except PostgresError as error:
                raise CliError(str(error), code="postgres_failed") from error

    def _stop(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        print("stopping …", file=sys.stderr, flush=True)
        deadline = time.monotonic() + STOP_SECONDS
        for service in self._services:
            service.ask_to_stop()
        for service in self._services:
            service.stop(deadline - time.monotonic())
        if self._postgres is not None:
            self._postgres.stop()
        self._home.close()


class _Stopped(Exception):
    """A signal asked for the end."""
