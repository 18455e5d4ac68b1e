"""docs/guides/backup.md: its commands, from one server to a fresh one, and what the platform does there."""

from __future__ import annotations

import dataclasses
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from sql.accounts import role_url
from tests.databases import Database
from tests.docs.guides import Guide
from tests.platform import SERVICES, Parts, Platform, eventually, zmesh_dev
from tests.postgres_with_cron import BINARIES, EXTENSION, from_packages

needs_server = pytest.mark.skipif(
    not EXTENSION.exists(),
    reason="no server with its own pg_dump here: apt-get install postgresql-15 postgresql-15-cron",
)
ORDERS = """
def handler(payload, zmesh):
    print("order", payload["item"])
    order = zmesh.db.insert("orders", {"item": payload["item"]})
    return {"order": order["id"], "paid_with": zmesh.env.CARD}
"""
WAITS = """
import time
def handler(payload, zmesh):
    while not zmesh.db.query("select open from gate"):
        time.sleep(0.05)
    return "passed"
"""
GUIDE = Guide("backup")


@dataclass
class Servers:
    """Where the platform runs, and a fresh server with an empty database of another name."""

    old_url: str
    new_url: str


@pytest.fixture
def servers() -> Iterator[Servers]:
    # Passable for the server's own user, which pytest's temporary folders are not.
    with tempfile.TemporaryDirectory(prefix="zmesh-backup-") as name:
        folders = [Path(name) / "old", Path(name) / "new"]
        Path(name).chmod(0o711)
        for folder in folders:
            folder.mkdir()
        with from_packages(folders[0], "zmesh") as old, from_packages(folders[1], "restored") as new:
            yield Servers(old, new)


def fill(platform: Platform) -> tuple[str, str, str]:
    """Ids of an invocation that ended, one that runs and one that waits for its time."""
    platform.sql("create table orders (id serial primary key, item text)")
    platform.sql("create table gate (open boolean)")
    platform.request("PUT", "/secrets/CARD", json={"value": "visa"}).raise_for_status()
    platform.deploy("order", ORDERS)
    platform.deploy("wait", WAITS, timeout_ms=60000)
    ended = platform.enqueue("order", {"item": "mug"})
    assert platform.ended(ended)["status"] == "success"
    runs = platform.enqueue("wait", max_attempts=2)
    eventually(lambda: platform.request("GET", f"/invocations/{runs}").json()["status"] == "running", "the run")
    later = platform.enqueue("order", {"item": "pen"}, run_at="2100-01-01")
    return ended, runs, later


@needs_server
@pytest.mark.timeout(240)
def test_a_restored_platform_has_its_data_and_secrets_and_goes_on(servers: Servers, tmp_path: Path) -> None:
    old = Database.create(servers.old_url, "zmesh", "api-password", "listener-password")
    programs = programs_in(tmp_path)
    with Parts(old, tmp_path, forks=SERVICES) as parts:
        listener = parts.start_listener()
        ended, runs, later = fill(parts.platform)
        GUIDE.run("dump", tmp_path, {**programs, "DATABASE_URL": servers.old_url})
        listener.kill()
        parts.api.stop()

        new = {**programs, "NEW_DATABASE_URL": servers.new_url}
        GUIDE.run("restore", tmp_path, new)
        parts.database = restored(old, servers.new_url)
        api = parts.start("api", DATABASE_URL=parts.database.api_url, ZMESH_PORT="0")
        moved = dataclasses.replace(
            parts.platform,
            url=api.line("listening http://").split()[1],
            database_url=moved_url(parts.platform.database_url, servers.new_url),
        )
        assert "running|1\n" in GUIDE.run("check", tmp_path, {**new, "ZMESH_URL": moved.url})
        moved.sql("insert into gate values (true)")
        parts.start_listener(lease_seconds=30)  # nobody waits for its death

        assert moved.result("order", {"item": "shirt"}) == {"order": 2, "paid_with": "visa"}
        assert [row["item"] for row in moved.sql("select item from orders order by id")] == ["mug", "shirt"]
        kept = moved.request("GET", f"/invocations/{ended}?logs=true").json()
        assert kept["result"] == {"order": 1, "paid_with": "visa"}
        again = moved.ended(runs)
        assert (again["status"], again["result"], again["attempt"]) == ("success", "passed", 2)
        assert moved.request("GET", f"/invocations/{later}").json()["status"] == "queued"
        assert pg_cron_ticks_in(parts.database) == "restored"
        assert able_to_make_a_project(parts)


@needs_server
def test_what_a_role_set_for_itself_is_no_command_when_it_is_restored(servers: Servers, tmp_path: Path) -> None:
    """Lines of a dump were chosen one by one: without its last line, a setting ended at the next quote, in another."""
    old = Database.create(servers.old_url, "zmesh", "api-password", "listener-password")
    project = old.project("eve")
    values = {
        "application_name": "begun\n",
        "default_tablespace": f"; alter role {project.role} superuser; --",
    }
    for name, value in values.items():
        escaped = value.replace("'", "''")
        old.rows(f"alter role current_user set {name} = '{escaped}'", url=project.url)
    programs = programs_in(tmp_path)
    GUIDE.run("dump", tmp_path, {**programs, "DATABASE_URL": servers.old_url})
    GUIDE.run("restore", tmp_path, {**programs, "NEW_DATABASE_URL": servers.new_url})
    query = "select rolsuper from pg_roles where rolname = %s"
    settings = "select setconfig from pg_db_role_setting where setdatabase = 0 and setrole = %s::regrole"
    with psycopg.connect(servers.old_url) as before, psycopg.connect(servers.new_url) as after:
        assert after.execute(query, (project.role,)).fetchall() == [(False,)]
        kept = [connection.execute(settings, (project.role,)).fetchone() for connection in (before, after)]
        assert kept[0] == kept[1]


def programs_in(folder: Path) -> dict[str, str]:
    """An environment with `zmesh` of the guide and the programs of a PostgreSQL of the servers' version."""
    return {"PATH": f"{folder / 'bin'}:{BINARIES}:{os.environ['PATH']}"}


def restored(old: Database, url: str) -> Database:
    passwords = {"zmesh_api": "api-password", "zmesh_listener": "listener-password"}
    api_url, listener_url = (role_url(url, role, password) for role, password in passwords.items())
    return dataclasses.replace(old, admin_url=url, api_url=api_url, listener_url=listener_url)


def moved_url(project_url: str, server_url: str) -> str:
    parts = conninfo_to_dict(project_url)
    return role_url(server_url, str(parts["user"]), str(parts["password"]))


def pg_cron_ticks_in(database: Database) -> str:
    job = database.row("select database, nodeport = current_setting('port')::integer as here from cron.job")
    assert job["here"]
    return str(job["database"])


def able_to_make_a_project(parts: Parts) -> bool:
    answer = parts.platform.client.post(
        f"{parts.processes[-2].line('listening http://').split()[1]}/projects",
        json={"name": "another"},
        headers={"authorization": f"Bearer {parts.platform.token}"},
    )
    return answer.status_code == 201


@needs_server
def test_a_copy_of_the_roles_leaves_the_other_servers_administrator_alone(servers: Servers, tmp_path: Path) -> None:
    Database.create(servers.old_url, "zmesh", "api-password", "listener-password")
    programs = programs_in(tmp_path)
    GUIDE.run("dump", tmp_path, {**programs, "DATABASE_URL": servers.old_url})
    roles = (tmp_path / "zmesh-roles.sql").read_text()
    assert all("ROLE postgres" not in line for line in roles.splitlines())
    with psycopg.connect(servers.new_url, autocommit=True) as connection:
        connection.execute(roles.encode())
        assert connection.execute("select count(*) from pg_roles where rolname ~ '^zmesh_'").fetchone() == (5,)


@pytest.mark.timeout(180)
def test_a_copied_folder_of_zmesh_dev_starts_elsewhere(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    with zmesh_dev(first, "--no-examples") as platform:
        platform.sql("create table orders (id serial primary key, item text)")
        platform.request("PUT", "/secrets/CARD", json={"value": "visa"}).raise_for_status()
        platform.deploy("order", ORDERS)
        assert platform.result("order", {"item": "mug"}) == {"order": 1, "paid_with": "visa"}
    GUIDE.run("dev-backup", first, {})
    shutil.move(first / "zmesh-dev.tar.gz", second)
    GUIDE.run("dev-restore", second, {})
    with zmesh_dev(second, "--no-examples") as platform:
        assert platform.result("order", {"item": "pen"}) == {"order": 2, "paid_with": "visa"}
        assert [item["status"] for item in platform.history("order")] == ["success", "success"]


def test_every_command_of_the_page_is_run_here() -> None:
    if EXTENSION.exists():
        GUIDE.assert_all_run()
