"""A private PostgreSQL with pg_cron: our image of PostgreSQL 18 in a container, by testcontainers.

Where no Docker engine answers, PostgreSQL 15 and pg_cron of Debian's packages take its place.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests import engine

BINARIES = Path("/usr/lib/postgresql/15/bin")
EXTENSION = Path("/usr/share/postgresql/15/extension/pg_cron.control")


def missing() -> str | None:
    """Why pg_cron cannot be tested here; None where it can."""
    if engine.missing() is None or EXTENSION.exists():
        return None
    return f"{engine.missing()}; nor is pg_cron installed: apt-get install postgresql-15 postgresql-15-cron"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def run_as() -> dict[str, object]:
    """PostgreSQL refuses root: as root it runs as Debian's `postgres` user."""
    if os.geteuid() != 0:
        return {}
    user = pwd.getpwnam("postgres")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


@contextmanager
def postgres_with_cron(folder: Path, database: str) -> Iterator[str]:
    """Run the server with pg_cron working in `database`; yields a superuser's connection string."""
    server = from_packages(folder, database) if engine.missing() else in_container(database)
    with server as url:
        yield url


@contextmanager
def in_container(database: str) -> Iterator[str]:
    from testcontainers.community.postgres import PostgresContainer

    container = PostgresContainer(
        engine.postgres_image(), username="postgres", password=secrets.token_urlsafe(16), dbname=database, driver=None
    )
    container.with_env("POSTGRES_INITDB_ARGS", "--auth=scram-sha-256 --encoding=UTF8 --locale=C")
    container.with_command(["postgres", *settings(database)])
    with container:
        yield container.get_connection_url()


def settings(database: str) -> list[str]:
    return [
        *("-c", "shared_preload_libraries=pg_cron", "-c", f"cron.database_name={database}"),
        *("-c", "cron.use_background_workers=on", "-c", "max_worker_processes=20", "-c", "fsync=off"),
    ]


@contextmanager
def from_packages(folder: Path, database: str) -> Iterator[str]:
    password, port = secrets.token_urlsafe(16), free_port()
    prepare(folder, password)
    server = subprocess.Popen(  # type: ignore[call-overload]
        [
            str(BINARIES / "postgres"),
            *("-D", str(folder / "data"), "-p", str(port), "-k", str(folder), "-h", "127.0.0.1"),
            *settings(database),
        ],
        stdout=subprocess.DEVNULL,
        stderr=(folder / "log").open("w"),
        cwd=folder,
        **run_as(),
    )
    admin = f"postgresql://postgres:{password}@127.0.0.1:{port}/"
    try:
        wait_until_it_answers(f"{admin}postgres", server, folder / "log")
        with psycopg.connect(f"{admin}postgres", autocommit=True) as connection:
            connection.execute(f"create database {database}")
        yield f"{admin}{database}"
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)


def prepare(folder: Path, password: str) -> None:
    (folder / "password").write_text(password)
    if os.geteuid() == 0:
        for path in (folder, folder / "password"):
            shutil.chown(path, "postgres", "postgres")
    subprocess.run(  # type: ignore[call-overload]
        [
            str(BINARIES / "initdb"),
            *("-D", str(folder / "data"), "-U", "postgres", "-A", "scram-sha-256", "--no-sync"),
            *("--pwfile", str(folder / "password"), "--encoding", "UTF8", "--locale", "C"),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        cwd=folder,
        **run_as(),
    )


def wait_until_it_answers(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    while True:
        try:
            psycopg.connect(url, connect_timeout=2).close()
            return
        except psycopg.OperationalError:
            if server.poll() is not None:
                print(log.read_text(), file=sys.stderr)
                raise
            time.sleep(0.05)
