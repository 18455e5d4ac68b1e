"""docs/guides/upgrade.md: its commands, on a database that an earlier version filled."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from sql.migrate import FIRST_SCHEMA, MigrationError, migrate
from tests.conftest import API_PASSWORD, LISTENER_PASSWORD
from tests.databases import Database
from tests.docs.guides import Guide
from tests.platform import ZMESH, Parts, clean_environment, eventually
from tests.releases import DUMPS, restored

GUIDE = Guide("upgrade")


@pytest.fixture
def old(server: str, migrated: str) -> Iterator[Database]:
    """A database of the release before this one."""
    assert migrated  # the platform's own roles are there
    with restored(server, DUMPS[-1], API_PASSWORD, LISTENER_PASSWORD) as database:
        yield database


@pytest.mark.timeout(180)
def test_what_was_queued_by_an_earlier_version_runs_after_the_upgrade(old: Database, tmp_path: Path) -> None:
    [queued] = old.rows("select id from zmesh.queue where status = 'queued'")
    environment = {"DATABASE_URL": old.admin_url}
    GUIDE.run("migrate", tmp_path, environment)
    assert old.rows("select name from zmesh.migrations where name = %s", FIRST_SCHEMA)
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


def test_a_database_of_an_unfinished_development_version_is_refused_with_what_to_do(server: str, migrated: str) -> None:
    assert migrated  # the platform's own roles are there
    with restored(server, DUMPS[0], API_PASSWORD, LISTENER_PASSWORD) as old:
        old.rows("delete from zmesh.migrations where name in (%s, 'migrations/0020_changes.sql')", FIRST_SCHEMA)
        with pytest.raises(MigrationError, match=r"it lacks migrations/0020_changes\.sql\. Bring it to the last"):
            migrate(old.admin_url)
        assert old.value("select count(*) from zmesh.invocations") == 1
