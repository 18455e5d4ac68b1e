"""`zmesh functions …` as a person types it, against a running platform."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.platform import ZMESH, Platform, clean_environment, zmesh_dev


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    with zmesh_dev(tmp_path_factory.mktemp("cli"), "--no-examples") as running:
        yield running


def write(platform: Platform, name: str, code: str) -> Path:
    path = platform.folder / name
    path.write_text(code)
    return path


def test_nothing_needs_to_be_configured_beside_a_running_zmesh_dev(platform: Platform) -> None:
    done = subprocess.run(
        [*ZMESH, "functions", "list"], cwd=platform.folder, env=clean_environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert isinstance(json.loads(done.stdout), list)


def test_deploy_creates_then_skips_then_shows_what_changed(platform: Platform) -> None:
    path = write(platform, "greet-a.py", "def handler(payload, zmesh):\n    return 'one'\n")
    for action in ("created", "unchanged"):
        [deployed] = json.loads(platform.zmesh("functions", "deploy", str(path)))
        assert deployed["action"] == action
    path.write_text("def handler(payload, zmesh):\n    return 'two'\n")
    shown = platform.zmesh("functions", "deploy", str(path), "--timeout-ms", "5000", "--output", "table")
    assert "updated greet-a (version 2)" in shown
    assert "-    return 'one'" in shown
    assert "+    return 'two'" in shown
    assert "timeout_ms: 10000 → 5000" in shown


def test_invoke_prints_the_result_and_fails_with_the_function(platform: Platform) -> None:
    code = "exports.handler = async (p) => { if (p.bad) throw new TypeError('no'); return { got: p.n }; };"
    path = write(platform, "greet-b.js", code)
    platform.zmesh("functions", "deploy", str(path))
    answer = json.loads(platform.zmesh("functions", "invoke", "greet-b", "--data", '{"n": 7}'))
    assert (answer["status"], answer["result"]) == ("success", {"got": 7})
    said = platform.zmesh("functions", "invoke", "greet-b", "--data", '{"bad": 1}', "--output", "table", status=1)
    assert "TypeError: no" in said
    assert "greet-b.js:1" in said


def test_logs_end_by_themselves_and_hold_what_was_printed(platform: Platform) -> None:
    path = write(platform, "greet-c.py", "def handler(payload, zmesh):\n    print('a line')\n")
    platform.zmesh("functions", "deploy", str(path))
    platform.zmesh("functions", "invoke", "greet-c")
    [invocation] = json.loads(platform.zmesh("functions", "logs", "greet-c"))
    [line] = invocation["logs"]
    assert (line["level"], line["message"]) == ("info", "a line")


def test_a_rollback_is_a_new_version_and_can_be_undone(platform: Platform) -> None:
    path = write(platform, "greet-d.py", "def handler(payload, zmesh):\n    return 1\n")
    platform.zmesh("functions", "deploy", str(path))
    path.write_text("def handler(payload, zmesh):\n    return 2\n")
    platform.zmesh("functions", "deploy", str(path))
    assert json.loads(platform.zmesh("functions", "rollback", "greet-d", "1"))["version"] == 3
    assert platform.result("greet-d") == 1
    assert json.loads(platform.zmesh("functions", "rollback", "greet-d", "2"))["version"] == 4
    assert platform.result("greet-d") == 2
    assert [v["version"] for v in json.loads(platform.zmesh("functions", "versions", "greet-d"))] == [4, 3, 2, 1]
    assert "version 9 does not exist" in platform.zmesh("functions", "rollback", "greet-d", "9", status=1)


def test_a_misspelt_name_is_answered_with_the_nearest_one(platform: Platform) -> None:
    path = write(platform, "send-letter.py", "def handler(payload, zmesh):\n    return 1\n")
    platform.zmesh("functions", "deploy", str(path))
    assert "Did you mean send-letter?" in platform.zmesh("functions", "invoke", "send-leter", status=1)


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("functions", "invoke", "x", "--data", "{"), 2, "not JSON"),
        (("functions", "invoke", "x", "--data", "@missing.json"), 2, "cannot be read"),
        (("functions", "deploy", "missing.py"), 1, "does not exist"),
        (("functions", "deploy", "notes.txt"), 1, "belongs to no language"),
        (("functions", "deploy", "a.py", "--env", "NOVALUE"), 2, "KEY=VALUE"),
        (("functions", "frobnicate"), 2, "No such command"),
    ],
)
def test_misuse_is_named(platform: Platform, arguments: tuple[str, ...], status: int, said: str) -> None:
    write(platform, "notes.txt", "hello")
    write(platform, "a.py", "def handler(payload, zmesh): pass\n")
    assert said in platform.zmesh(*arguments, status=status)


def test_delete_takes_the_function_away(platform: Platform) -> None:
    path = write(platform, "greet-e.py", "def handler(payload, zmesh):\n    return 1\n")
    platform.zmesh("functions", "deploy", str(path))
    platform.zmesh("functions", "delete", "greet-e", "--yes")
    assert platform.invoke("greet-e").status_code == 404


def test_login_is_remembered_for_this_user_only(platform: Platform, tmp_path: Path) -> None:
    facts = json.loads((platform.folder / ".zmesh" / "dev.json").read_text())
    environment = {**clean_environment(), "XDG_CONFIG_HOME": str(tmp_path)}
    wrong = [*ZMESH, "login", "--url", platform.url, "--email", facts["admin_email"], "--password", "wrong"]
    assert subprocess.run(wrong, env=environment, cwd=tmp_path, capture_output=True).returncode == 1
    right = [*wrong[:-1], facts["admin_password"]]
    subprocess.run(right, env=environment, cwd=tmp_path, capture_output=True, check=True)
    assert (tmp_path / "zmesh" / "login.json").stat().st_mode & 0o777 == 0o600
    listed = [*ZMESH, "functions", "list"]
    done = subprocess.run(listed, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert isinstance(json.loads(done.stdout), list)


def test_doctor_tries_out_what_the_platform_needs(tmp_path: Path) -> None:
    done = subprocess.run(
        [*ZMESH, "doctor"], env=clean_environment(), cwd=tmp_path, capture_output=True, text=True, check=True
    )
    checks = {finding["check"]: finding["state"] for finding in json.loads(done.stdout)}
    assert checks["Node.js"] == checks["Python"] == checks["PostgreSQL"] == "ok"
    assert checks["Isolation"] in ("ok", "warning")
