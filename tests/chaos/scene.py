"""A platform with two API replicas, two listeners and its own PostgreSQL, and the faults of each."""

from __future__ import annotations

import os
import random
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg

from cli.platform.postgres import EmbeddedPostgres
from tests.chaos.recording import RECORDS
from tests.own_server import own_server
from tests.platform import Parts, Process

LEASE_SECONDS = 3
LISTENERS = {"recording": [sys.executable, "-m", "tests.chaos.recording"], "real": None}


class Part:
    """A process that is started again after each of its ends."""

    def __init__(self, start: Callable[[], Process]) -> None:
        self._start = start
        self.process = start()
        self.stopped_at: dict[int, list[float]] = {}  # when nothing of it ran any more, by the process's id

    def hurt(self, how: Callable[[Process], None]) -> None:
        """Do it to the process, and see to it that one runs afterwards; fails when it had ended by itself."""
        self.process.output()
        how(self.process)
        self.stopped_at.setdefault(self.process.pid, []).append(time.monotonic())
        if not self.process.alive():
            self.process = self._start()


class Scene:
    """The processes, and the hand that breaks them."""

    def __init__(self, postgres: EmbeddedPostgres, parts: Parts, listener: str) -> None:
        self._postgres = postgres
        self.parts = parts
        self.records = parts.folder / "records"
        self.records.touch()
        ports = [_free_port(), _free_port()]
        self.urls = [f"http://127.0.0.1:{port}" for port in ports]
        self.apis = [Part(lambda port=port: self._start_api(port)) for port in ports]  # type: ignore[misc]
        self.listeners = [Part(lambda: self._start_listener(LISTENERS[listener])) for _ in range(2)]
        for api in self.apis:
            api.process.line("listening")
        self._mishaps: list[tuple[str, Callable[[Part, Part], object]]] = []

    def _start_api(self, port: int) -> Process:
        return self.parts.start("api", DATABASE_URL=self.parts.database.api_url, ZMESH_PORT=str(port))

    def _start_listener(self, command: list[str] | None) -> Process:
        environment = {
            "DATABASE_URL": self.parts.database.listener_url,
            "ZMESH_SLOTS": "4",
            "ZMESH_LEASE_SECONDS": str(LEASE_SECONDS),
            "ZMESH_DRAIN_SECONDS": "2",
            RECORDS: str(self.records),
        }
        return self.parts.start("listener", command=command, **environment)

    def break_something(self, choose: random.Random) -> str:
        """One mishap, each kind as often as the others; returns its name."""
        if not self._mishaps:
            self._mishaps = [
                ("kill a listener", lambda listener, _: listener.hurt(Process.kill)),
                ("stop a listener", lambda listener, _: listener.hurt(Process.stop)),
                ("pause a listener", lambda listener, _: listener.hurt(_pause)),
                ("kill an API", lambda _, api: api.hurt(Process.kill)),
                ("stop an API", lambda _, api: api.hurt(Process.stop)),
                ("kill PostgreSQL", lambda *_: self._kill_postgres()),
                ("cut connections", lambda *_: self._cut_connections()),
                ("hold a transaction", lambda *_: self._hold_transaction()),
            ]
            choose.shuffle(self._mishaps)
        name, act = self._mishaps.pop()
        act(choose.choice(self.listeners), choose.choice(self.apis))
        return name

    def _kill_postgres(self) -> None:
        os.kill(self._postgres.pid or 0, signal.SIGKILL)
        self._postgres.start()

    def _cut_connections(self) -> None:
        self.parts.database.rows(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid() and random() < 0.5"
        )

    def _hold_transaction(self) -> None:
        """An old snapshot and uncommitted inserts, for some seconds, while everything else goes on."""

        def hold() -> None:
            with suppress(psycopg.Error), psycopg.connect(self.parts.platform.database_url) as connection:
                connection.execute("set transaction isolation level repeatable read")
                connection.execute("insert into zmesh.invocations (function, payload) values ('plain', '{}')")
                time.sleep(4)
                connection.rollback()

        threading.Thread(target=hold).start()

    def stopped_at(self) -> dict[int, list[float]]:
        return {pid: at for part in self.listeners for pid, at in part.stopped_at.items()}


def _pause(process: Process) -> None:
    """It is suspended for longer than its lease, during other faults: its runs then belong to others."""
    process.signal(signal.SIGSTOP)
    threading.Timer(LEASE_SECONDS + 2, lambda: process.signal(signal.SIGCONT)).start()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def scene(folder: Path, listener: str) -> Iterator[Scene]:
    """The whole platform in a folder, until the block ends; `listener` is a key of LISTENERS."""
    with own_server(folder) as (postgres, database), Parts(database, folder) as parts:
        yield Scene(postgres, parts, listener)
