"""A platform without people gets its first one by command, who brings in the others."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import psycopg
import pytest

from cli.main import main
from tests.api.client import ApiProcess
from tests.databases import Database
from tests.platform import ZMESH, clean_environment

PASSWORD = "a password of some length"


@dataclass
class Person:
    """Somebody with a configuration of their own, who types commands."""

    folder: Path
    environment: dict[str, str]

    @property
    def variables(self) -> dict[str, str]:
        return {**clean_environment(), "XDG_CONFIG_HOME": str(self.folder), **self.environment}

    def types(self, *arguments: str, stdin: str = "", status: int = 0) -> str:
        """What a command prints, on stderr where it is to fail. In this process: each would take its time to start."""
        output, errors = io.StringIO(), io.StringIO()
        with (
            contextlib.chdir(self.folder),
            mock.patch.dict(os.environ, self.variables, clear=True),
            mock.patch.object(sys, "stdin", io.StringIO(stdin)),
            contextlib.redirect_stdout(output),
            contextlib.redirect_stderr(errors),
        ):
            ended = main(list(arguments))
        assert ended == status, f"{arguments}: {ended}\n{output.getvalue()}\n{errors.getvalue()}"
        return output.getvalue() if status == 0 else errors.getvalue()

    def starts(self, *arguments: str) -> subprocess.Popen[str]:
        """A command as a separate process."""
        return subprocess.Popen(
            [*ZMESH, *arguments], cwd=self.folder, env=self.variables, stdout=subprocess.PIPE, text=True
        )

    def reads(self, *arguments: str) -> Any:
        return json.loads(self.types(*arguments))

    @property
    def stored(self) -> Path:
        return self.folder / "zmesh" / "login.json"


@pytest.fixture
def api(database: Database, tmp_path: Path) -> Iterator[ApiProcess]:
    process = ApiProcess(database, tmp_path / "log")
    try:
        yield process
    finally:
        process.stop()
        database.remember_roles()


def person(tmp_path: Path, name: str, **environment: str) -> Person:
    folder = tmp_path / name
    folder.mkdir()
    return Person(folder, environment)


def test_the_first_user_logs_in_and_brings_in_others(api: ApiProcess, database: Database, tmp_path: Path) -> None:
    operator = person(tmp_path, "op", DATABASE_URL=database.admin_url, ZMESH_SECRET_KEY=database.secret_key)
    ada, grace = person(tmp_path, "ada"), person(tmp_path, "grace")
    assert "12" in operator.types("admin", "create", "ada@example.org", stdin="short", status=1)
    operator.types("admin", "create", "ada@example.org", "--project", "Web shop", stdin=f"{PASSWORD}\n")
    assert "user_exists" in operator.types("admin", "create", "ADA@example.org", stdin=PASSWORD, status=1)

    ada.types("login", "--url", api.url, "--email", "ada@example.org", stdin=f"{PASSWORD}\n")
    assert os.stat(ada.stored).st_mode & 0o077 == 0
    [project] = ada.reads("projects", "list")
    assert (project["slug"], project["role"]) == ("web-shop", "owner")

    invitation = ada.reads("members", "invite", "grace@example.org", "--role", "viewer")
    login = ("login", "--url", api.url, "--invitation", invitation["token"])
    grace.types(*login, stdin=f"{PASSWORD}, too\n")
    assert grace.reads("functions", "list") == []
    assert "forbidden" in grace.types("keys", "list", status=1)
    ada.types("members", "change", "grace@example.org", "developer")
    assert grace.reads("keys", "list") == []
    people = {(one["email"], one["role"], one["status"]) for one in ada.reads("members", "list")}
    assert people == {("ada@example.org", "owner", "member"), ("grace@example.org", "developer", "member")}
    assert "last_owner" in ada.types("members", "remove", "ada@example.org", status=1)
    ada.types("members", "remove", "grace@example.org")
    assert "not_a_member" in grace.types("functions", "list", status=1)

    assert "project_not_found" in operator.types("admin", "limit-project", "nowhere", "--max-queued", "5", status=1)
    operator.types("admin", "limit-project", "web-shop", "--requests-per-second", "50", "--max-running", "3")
    limits = "select requests_per_second, max_queued, max_running from zmesh.projects where slug = 'web-shop'"
    assert database.row(limits) == {"requests_per_second": 50, "max_queued": 100_000, "max_running": 3}
    operator.types("admin", "limit-project", "web-shop", "--requests-per-second", "0", "--max-queued", "7")
    assert database.row(limits) == {"requests_per_second": None, "max_queued": 7, "max_running": 3}

    operator.types("admin", "limit-project", "web-shop", "--max-connections", "4")
    limit = (
        "select r.rolconnlimit from zmesh.projects p join pg_roles r on r.rolname = p.role_name where slug = 'web-shop'"
    )
    assert database.value(limit) == 4
    operator.types("admin", "limit-owners", "1")
    assert "project_limit" in ada.types("projects", "create", "One more", status=1)

    operator.types("admin", "reset-password", "ada@example.org", stdin="another long password")
    assert "zmesh login" in ada.types("functions", "list", status=1)
    account = ("--url", api.url, "--email", "ada@example.org", "--password", "another long password")
    assert "invalid_input" in ada.types("password", *account, stdin="short", status=1)
    ada.types("password", *account, stdin="a third long password")
    assert ada.reads("functions", "list") == []
    ada.types("logout")
    assert not ada.stored.exists()
    assert database.value("select count(*) from zmesh.sessions where ended_by = 'logout'") == 1


def test_projects_and_keys_are_managed_by_command(api: ApiProcess, database: Database, tmp_path: Path) -> None:
    operator = person(tmp_path, "op", DATABASE_URL=database.admin_url, ZMESH_SECRET_KEY=database.secret_key)
    ada = person(tmp_path, "ada")
    operator.types("admin", "create", "ada@example.org", stdin=PASSWORD)
    ada.types("login", "--url", api.url, "--email", "ada@example.org", stdin=PASSWORD)
    ada.types("projects", "create", "Second")
    ada.types("projects", "use", "second")
    (ada.folder / "greet.py").write_text("def handler(payload, zmesh):\n    return payload\n")
    ada.types("functions", "deploy", "greet.py")
    ada.types("projects", "use", "default")
    assert ada.reads("functions", "list") == []
    ada.types("projects", "use", "second")

    key = ada.reads("keys", "create", "frontend", "--function", "greet", "--days", "7")["key"]
    [listed] = ada.reads("keys", "list")
    operator.types("admin", "limit-key", listed["prefix"], "20")
    assert database.value("select requests_per_second from zmesh.api_keys where prefix = %s", listed["prefix"]) == 20
    assert "key_not_found" in operator.types("admin", "limit-key", "zb_nobody", "20", status=1)
    assert (listed["name"], listed["functions"]) == ("frontend", ["greet"])
    assert key not in json.dumps(listed)
    ada.types("keys", "revoke", listed["prefix"])
    assert ada.reads("keys", "list")[0]["revoked_at"]
    assert "key_not_found" in ada.types("keys", "revoke", "frontend", status=1)

    assert "--yes" in ada.types("projects", "delete", "second", status=2)
    ada.types("projects", "rename", "second", "Last")
    ada.types("projects", "delete", "Last", "--yes")
    assert [project["slug"] for project in ada.reads("projects", "list")] == ["default"]


def test_a_stored_session_is_renewed_by_itself_and_by_many_commands_at_once(
    api: ApiProcess, database: Database, tmp_path: Path
) -> None:
    operator = person(tmp_path, "op", DATABASE_URL=database.admin_url, ZMESH_SECRET_KEY=database.secret_key)
    ada = person(tmp_path, "ada")
    operator.types("admin", "create", "ada@example.org", stdin=PASSWORD)
    ada.types("login", "--url", api.url, "--email", "ada@example.org", stdin=PASSWORD)
    ada.stored.write_text(json.dumps({**json.loads(ada.stored.read_text()), "token": "one.that.ran-out"}))
    commands = [ada.starts("functions", "list") for _ in range(3)]
    assert [json.loads(command.communicate(timeout=90)[0]) for command in commands] == [[]] * 3
    with psycopg.connect(database.admin_url) as connection:
        used = connection.execute("select count(*) from zmesh.refresh_tokens where used_at is not null").fetchone()
    assert used == (1,)
