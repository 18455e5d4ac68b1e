"""docs/guides/upgrade.md: its commands, on a database that an earlier version filled.

previous_schema.sql.gz is pg_dump --inserts of such a database: a project with a function and a queued invocation.
"""

from __future__ import annotations

import gzip
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from sql.accounts import password_purpose, role_url
from support.sealing import Sealer
from tests.conftest import API_PASSWORD, LISTENER_PASSWORD
from tests.databases import Database
from tests.docs.guides import Guide
from tests.platform import ZMESH, Parts, clean_environment, eventually

PREVIOUS = Path(__file__).parent / "previous_schema.sql.gz"
ROLE = "zmesh_p_upgrade_test"
GUIDE = Guide("upgrade")


@pytest.fixture
def old(server: str, migrated: str) -> Iterator[Database]:
    """A database of the earlier version, with the key that its project's password is sealed with."""
    assert migrated  # the platform's own roles are there
    name, password, key = f"zmesh_test_{secrets.token_hex(6)}", secrets.token_urlsafe(16), Sealer.new_key()
    parts = conninfo_to_dict(make_conninfo(server, dbname=name))
    url = f"postgresql://{parts['user']}:{parts['password']}@{parts['host']}:{parts['port']}/{name}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"create database {name}")
        connection.execute(f"create role {ROLE} login password '{password}' in role zmesh_project")
        connection.execute(f"grant {ROLE} to zmesh_provisioner with admin option")
        connection.execute(f"alter role {ROLE} set search_path = app_upgrade_test")
        try:
            with psycopg.connect(url, autocommit=True) as there:
                there.execute(gzip.decompress(PREVIOUS.read_bytes()))
                sealed = Sealer(key).seal(password, password_purpose(ROLE))
                there.execute("update zmesh.project_databases set sealed_password = %s", (sealed,))
            api_url = role_url(url, "zmesh_api", API_PASSWORD)
            yield Database(url, api_url, role_url(url, "zmesh_listener", LISTENER_PASSWORD), key)
        finally:
            connection.execute(f"drop database {name} with (force)")
            connection.execute(f"drop role {ROLE}")


@pytest.mark.timeout(180)
def test_what_was_queued_by_an_earlier_version_runs_after_the_upgrade(old: Database, tmp_path: Path) -> None:
    known = {row["name"] for row in old.rows("select name from zmesh.migrations")}
    [queued] = old.rows("select id from zmesh.queue where status = 'queued'")
    environment = {"DATABASE_URL": old.admin_url}
    GUIDE.run("migrate", tmp_path, environment)
    assert {row["name"] for row in old.rows("select name from zmesh.migrations")} > known
    assert old.value("select status from zmesh.invocations where id = %s", queued["id"]) == "queued"
    with Parts(old, tmp_path) as parts:
        parts.start_listener()
        ended = eventually(lambda: ending(old, queued["id"]), "the end of what was queued")
        assert ended == {"status": "success", "result": {"n": 1}}
        assert parts.platform.result("greet", {"n": 2}) == {"n": 2}
        GUIDE.run("check", tmp_path, {**environment, "ZMESH_URL": parts.platform.url})
    GUIDE.assert_all_run()


def ending(database: Database, id: object) -> dict[str, object] | None:
    rows = database.rows("select status, result from zmesh.invocations where id = %s and status = 'success'", id)
    return rows[0] if rows else None


def test_an_older_program_refuses_a_newer_database(database: Database) -> None:
    database.rows("insert into zmesh.migrations (name, checksum) values ('migrations/9999_future.sql', 'x')")
    done = subprocess.run(
        [*ZMESH, "migrate"],
        env={**clean_environment(), "DATABASE_URL": database.admin_url},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "migrations/9999_future.sql" in done.stderr
