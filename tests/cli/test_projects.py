"""A project folder from `zmesh init` to `zmesh pull`, against a running platform."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cli.project.planning import Item, Plan, show
from tests.platform import Platform

TOML = """
secrets = ["KEY"]

[functions.hello]
timeout_ms = 5000
env = { GREETING = "Hello" }
aliases = { beta = 1, live = { "1" = 100 } }

[functions."Two Words!"]
path = "functions/words"

[schedules.nightly]
function = "hello"
cron = "0 3 * * *"
payload_json = '{"nothing": null}'

[webhooks."from git"]
function = "two-words"
preset = "github"

[[changes]]
table = "orders"
function = "hello"
events = ["UPDATE", "INSERT"]
when = 'new.note is distinct from ''x'''
columns = ["note"]
"""
TOML = TOML.replace("""'new.note is distinct from ''x'''""", '''"new.note is distinct from 'x'"''')
CODE = {
    "functions/hello.py": "def handler(payload, zmesh):\n    return 1\n",
    "functions/words/index.js": "const { n } = require('../_shared/n.js');\nexports.handler = async () => n;\n",
    "functions/words/data/table.bin": b"\x00\x01",
    "functions/_shared/n.js": "exports.n = 7;\n",
    "functions/folder/src/app.py": "def handler(payload, zmesh):\n    return 2\n",
    "functions/folder/zmesh.toml": 'entry = "src/app.py"\nmemory_mb = 300\n',
}


@pytest.fixture
def platform(running_platform: Platform, tmp_path: Path) -> Iterator[Platform]:
    """Another project of the same person, and an empty folder."""
    name = f"p{secrets.token_hex(4)}"
    made = running_platform.request("POST", "/projects", json={"name": name})
    assert made.status_code == 201, made.text
    there = replace(running_platform.in_project(name), folder=tmp_path)
    yield there
    running_platform.request("DELETE", f"/projects/{there.project_id}")


def put(folder: Path, files: dict[str, Any]) -> None:
    for path, content in files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())


def planned(platform: Platform, *options: str, status: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(platform.zmesh("plan", *options, "--output", "json", status=status))
    return found


def actions(plan: dict[str, Any]) -> dict[str, str]:
    return {f"{item['kind']} {item['name']}": item["action"] for item in plan["items"]}


@pytest.fixture
def shop(platform: Platform) -> Platform:
    """A project that has one of everything, deployed from a folder."""
    put(platform.folder, {**CODE, "zmesh.toml": TOML})
    platform.sql("create table orders (id int primary key, note text)")
    platform.request("PUT", "/secrets/KEY", json={"value": "sesame"})
    platform.zmesh("deploy", "--message", "first", "--force")
    return platform


def test_a_folder_from_init_to_a_second_deployment(platform: Platform) -> None:
    written = json.loads(platform.zmesh("init", "app", "--language", "python", "--output", "json"))["files"]
    assert "already has" in platform.zmesh("init", "app", status=1)
    assert {str(path.relative_to(platform.folder / "app")) for path in (platform.folder / "app").rglob("*.*")} >= {
        *written
    }
    shown = platform.zmesh("plan", "app", "--output", "table")
    assert "+ function greeter (version 1)" in shown
    assert "Plan: 1 created." in shown
    assert platform.request("GET", "/functions").json()["items"] == []
    platform.zmesh("deploy", "app", "--message", "first")
    assert platform.request("POST", "/functions/greeter/invoke", json={"payload": {}}).json()["result"] == {
        "message": "Welcome, stranger!"
    }
    code = platform.folder / "app" / "functions" / "greeter.py"
    code.write_text(code.read_text().replace("stranger", "Ada"))
    shown = platform.zmesh("deploy", "app", "--message", "second", "--output", "table")
    assert "code  +1 -1" in shown
    assert "Deployed: 1 updated." in shown
    versions = platform.zmesh("functions", "versions", "greeter", "--output", "table")
    assert versions.index("second") < versions.index("first")
    assert "No changes" in platform.zmesh("plan", "app", "--exit-code", "--output", "table")


def test_everything_is_deployed_and_shown_for_people_and_programs(shop: Platform) -> None:
    assert set(actions(planned(shop)).values()) == {"unchanged"}
    put(shop.folder, {"functions/hello.py": "def handler(payload, zmesh):\n    return 3\n"})
    toml = (shop.folder / "zmesh.toml").read_text().replace("0 3 * * *", "0 4 * * *").replace("Hello", "Hi")
    (shop.folder / "zmesh.toml").write_text(toml.replace('secrets = ["KEY"]', 'secrets = ["KEY", "OTHER"]'))
    plan = planned(shop, "--exit-code", status=3)
    assert plan["changes"] == 2
    changed = {item["name"]: item for item in plan["items"] if item["action"] == "updated"}
    assert changed["nightly"]["changed"] == {"cron": {"before": "0 3 * * *", "after": "0 4 * * *"}}
    assert changed["hello"]["files"] == [{"path": "", "added": 1, "removed": 1}]
    assert changed["hello"]["changed"]["env_vars"] == {"before": ["GREETING"], "after": ["GREETING"]}
    assert plan["missing_secrets"] == [{"name": "OTHER", "functions": []}]
    shown = shop.zmesh("plan", "--output", "table")
    assert "cron: 0 3 * * * → 0 4 * * *" in shown
    assert "variables set: GREETING" in shown
    assert "Hi" not in shown
    assert "secret OTHER is not set" in shown
    assert "OTHER" in shop.zmesh("deploy", status=1)
    assert planned(shop, "--exit-code", status=3)["changes"] == 2


def test_a_plan_after_a_pull_is_empty(shop: Platform, tmp_path_factory: pytest.TempPathFactory) -> None:
    there = replace(shop, folder=tmp_path_factory.mktemp("elsewhere"))
    pulled = json.loads(there.zmesh("pull", "--output", "json"))
    assert (pulled["changes"], set(pulled["written"])) == (0, {*CODE, "zmesh.toml"})
    assert {path: (there.folder / path).read_bytes() for path in CODE} == {
        path: (shop.folder / path).read_bytes() for path in CODE
    }
    assert set(actions(planned(there, "--exit-code")).values()) == {"unchanged"}
    # Where it is the same already, nothing is touched.
    again = json.loads(shop.zmesh("pull", "--output", "json"))
    assert (again["written"], (shop.folder / "zmesh.toml").read_text()) == ([], TOML)


def test_a_pull_leaves_line_endings_as_they_are(platform: Platform) -> None:
    put(platform.folder, {"zmesh.toml": ""})
    (folder := platform.folder / "functions").mkdir()
    for name in ("same", "other"):
        (folder / f"{name}.py").write_bytes(b"def handler(payload, zmesh):\r\n    return 1\r\n")
    platform.zmesh("deploy")
    (folder / "other.py").write_bytes(b"def handler(payload, zmesh):\r\n    return 2\r\n")
    platform.zmesh("pull", "--yes")
    assert (folder / "same.py").read_bytes() == b"def handler(payload, zmesh):\r\n    return 1\r\n"
    assert (folder / "other.py").read_bytes() == b"def handler(payload, zmesh):\n    return 1\n"


def test_files_that_other_programs_would_execute_are_not_pulled(
    shop: Platform, tmp_path_factory: pytest.TempPathFactory
) -> None:
    there = replace(shop, folder=tmp_path_factory.mktemp("trap"))
    trap = "[core]\n\tfsmonitor = touch pwned\n"
    files = {"main.py": "def handler(payload, zmesh): ...\n", ".git/config": trap, "a/.envrc": "", "a/b.txt": "b"}
    body = {"name": "trap", "language": "python", "entry_file": "main.py", "files": files}
    assert shop.request("POST", "/functions", json=body).status_code == 201
    pulled = json.loads(there.zmesh("pull", "--output", "json"))
    shop.request("DELETE", "/functions/trap")
    assert pulled["left_out"] == ["functions/trap/.git/config", "functions/trap/a/.envrc"]
    found = [path.relative_to(there.folder).as_posix() for path in (there.folder / "functions/trap").rglob("*")]
    assert sorted(found) == ["functions/trap/a", "functions/trap/a/b.txt", "functions/trap/main.py"]


def test_settings_of_a_function_that_no_folder_can_have_do_not_keep_the_rest_from_being_pulled(
    shop: Platform, tmp_path_factory: pytest.TempPathFactory
) -> None:
    there = replace(shop, folder=tmp_path_factory.mktemp("malformed"))
    malformed = {"broken": "= no TOML", "misspelled": "timeout = 5", "bytes": {"base64": "/w=="}, "moved": 'path = "x"'}
    for name, settings in malformed.items():
        files = {"main.py": "def handler(payload, zmesh): ...\n", "b.txt": "b", "zmesh.toml": settings}
        body = {"name": name, "language": "python", "entry_file": "main.py", "files": files}
        assert shop.request("POST", "/functions", json=body).status_code == 201
    pulled = json.loads(there.zmesh("pull", "--output", "json"))
    said = there.zmesh("pull", "--output", "table")
    for name in malformed:
        shop.request("DELETE", f"/functions/{name}")
    assert (pulled["unreadable"], pulled["problem"]) == (sorted(f"functions/{n}/zmesh.toml" for n in malformed), None)
    assert pulled["changes"] == len(malformed)  # each lacks a file
    assert {f"functions/{name}/b.txt" for name in malformed} | {*CODE, "zmesh.toml"} <= set(pulled["written"])
    assert "0 files written" in said


def test_what_others_changed_is_taken_over_or_overwritten_but_only_knowingly(shop: Platform) -> None:
    shop.request("PATCH", "/functions/hello", json={"code": "def handler(payload, zmesh):\n    return 'fixed'\n"})
    shop.request("PATCH", "/functions/folder", json={"memory_mb": 256})
    assert "something else has changed it" in shop.zmesh("plan", "--output", "table")
    said = shop.zmesh("deploy", status=1)
    assert "function:folder, function:hello" in said
    assert "zmesh pull" in said
    assert "pass --yes" in shop.zmesh("pull", status=2)
    shop.zmesh("pull", "--yes")
    assert "fixed" in (shop.folder / "functions" / "hello.py").read_text()
    assert "memory_mb = 256" in (shop.folder / "zmesh.toml").read_text()
    put(shop.folder, {"functions/hello.py": "def handler(payload, zmesh):\n    return 'better'\n"})
    shop.zmesh("deploy")  # it is based on what was pulled
    shop.request("PATCH", "/functions/hello", json={"timeout_ms": 1})
    shop.zmesh("deploy", status=1)
    shop.zmesh("deploy", "--overwrite")
    assert shop.request("GET", "/functions/hello").json()["timeout_ms"] == 5000


def test_migrations_are_applied_before_what_needs_them(platform: Platform) -> None:
    put(platform.folder, {"functions/hello.py": CODE["functions/hello.py"]})
    put(platform.folder, {"migrations/0001_parts.sql": "create table parts (id int primary key);\n"})
    put(platform.folder, {"zmesh.toml": '[[changes]]\ntable = "parts"\nfunction = "hello"\n'})
    plan = planned(platform, "--exit-code", status=3)
    assert (plan["changes"], plan["migrations"]) == (3, ["0001_parts.sql"])
    shown = platform.zmesh("deploy", "--output", "table")
    assert "+ migration 0001_parts.sql" in shown
    assert "Deployed: 1 migration, 2 created." in shown
    platform.sql("insert into parts values (1)")
    assert platform.sql("select function from zmesh.invocations") == [{"function": "hello"}]
    assert planned(platform, "--exit-code")["migrations"] == []


def test_prune_deletes_what_is_not_declared_with_consent(shop: Platform) -> None:
    put(shop.folder, {"zmesh.toml": '[functions."Two Words!"]\npath = "functions/words"\n'})
    (shop.folder / "functions" / "hello.py").unlink()
    assert actions(planned(shop))["function hello"] == "undeclared"
    assert "pass --yes" in shop.zmesh("deploy", "--prune", "--overwrite", status=2)
    assert "4 deleted" in shop.zmesh("deploy", "--prune", "--yes", "--dry-run", "--output", "table")
    shop.zmesh("deploy", "--prune", "--yes")
    assert {item["slug"] for item in shop.request("GET", "/functions").json()["items"]} == {"two-words", "folder"}


def test_errors_name_the_function_the_file_and_the_line(platform: Platform) -> None:
    put(platform.folder, {"zmesh.toml": "[functions.hello]\ntimeout_ms = 5\n"})
    put(platform.folder, {"functions/hello.py": "def handler(payload, zmesh):\n    return (\n"})
    said = platform.zmesh("deploy", status=1)
    assert "syntax_error" in said
    assert "  functions/hello.py:2:12\n    1 │ def handler(payload, zmesh):\n  › 2 │     return (\n" in said
    assert "      │            ^" in said
    put(platform.folder, {"functions/hello.py": "def main(payload, zmesh):\n    return 1\n"})
    assert "entry_point_missing" in platform.zmesh("deploy", status=1)
    put(platform.folder, {"zmesh.toml": '[schedules.often]\nfunction = "hello"\ncron = "0 25 * * *"\n'})
    said = platform.zmesh("deploy", "--force", status=1)
    assert 'schedule "often"' in said
    assert "25" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("deploy",), "no_project"),
        (("plan",), "zmesh init"),
        (("deploy", "a.py", "--prune"), "--prune works on a project folder"),
        (("deploy", ".", "--name", "x"), "--name works on single functions"),
    ],
)
def test_misuse_is_named(running_platform: Platform, tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    there = replace(running_platform, folder=tmp_path)
    if "." in arguments:
        put(tmp_path, {"zmesh.toml": ""})
    assert said in there.zmesh(*arguments, status=2 if said.startswith("--") else 1)


def test_many_things_that_a_folder_does_not_declare_are_told_in_a_line_of_each_kind(
    capsys: pytest.CaptureFixture[str],
) -> None:
    names = [("function", f"f{n}") for n in range(7)] + [("alias", f"f/a{n}") for n in range(6)] + [("change", "t → f")]
    undeclared: list[Item] = [
        {"kind": kind, "name": name, "action": "undeclared", "version": None, "changed_elsewhere": False, "changed": {}}
        for kind, name in names
    ]

    show(Plan({"items": undeclared, "migrations": [], "missing_secrets": []}), done=False)

    assert capsys.readouterr().out.splitlines() == [
        "? 6 aliases are not declared here, and are left alone: f/a0, f/a1, f/a2, f/a3, f/a4 and 1 more",
        "? table change t → f is not declared here, and is left alone",
        "? 7 functions are not declared here, and are left alone: f0, f1, f2, f3, f4 and 2 more",
        "No changes: the project is as declared; 14 not declared here.",
    ]
