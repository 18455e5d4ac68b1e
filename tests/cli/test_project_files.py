"""zmesh.toml: strict, with the line of each mistake; and written so that it reads the same."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from api.management.models.deployments import (
    ChangeToDeclare,
    FunctionToDeclare,
    ScheduleToDeclare,
    WebhookToDeclare,
)
from cli.errors import CliError
from cli.functions.declared import read_declared, with_resets
from cli.manifest import PARTS, is_project, line_of, read_project_file
from cli.project import initialising
from cli.project.folder import Project, read_project, remember_pulled
from cli.project.pulling import check_inside
from cli.project.toml_writing import can_be_written, table
from tests.platform import COMMANDS, clean_environment

HANDLER = "def handler(payload, zmesh): ...\n"


def project(root: Path, toml: str, *paths: str) -> Project:
    (root / "zmesh.toml").write_text(toml)
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(HANDLER)
    return read_project(root)


@pytest.mark.parametrize(
    ("toml", "said", "hint"),
    [
        ("[functions.a]\n\ntimout_ms = 5", ':3: unknown key "timout_ms" in [functions.a]', "Did you mean timeout_ms?"),
        ("[function.a]\n", ':1: unknown key "function"', "Did you mean functions?"),
        ('[functions.a]\nenv = { A = "x" }\ntimeout_ms = "5"', ":3: timeout_ms in [functions.a]", ""),
        ("[functions.a]\ntimeout_ms = 0", ":2: timeout_ms in [functions.a]", ""),
        ('[functions."a b"]\nnetwork = "closed"', ":2: network in [functions.a b]", ""),
        ("[functions.a.env]\nX = 1", ":2: X in [functions.a.env]", ""),
        ('[schedules.n]\ncron = "@daily"', ':1: "function" is missing in [schedules.n]', ""),
        ('[[changes]]\ntable = "t"\nfunction = "f"\n[[changes]]\ntable = "u"\nfn = "f"', ":6: unknown key", "function"),
        ("functions = 3", ":1: functions", ""),
        ("[functions.a\n", "cannot be read", ""),
        ("[functions.a b]\n", "cannot be read", "needs quotes"),
        ("[functions.naïve]\n", "cannot be read", '[functions."send mail"]'),
        ('[functions]\na.timeout_ms = "x"', ":2: timeout_ms in [functions.a]", ""),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, toml: str, said: str, hint: str) -> None:
    (tmp_path / "zmesh.toml").write_text(toml)
    with pytest.raises(CliError) as refused:
        read_project_file(tmp_path)
    assert said in f"{refused.value.message}"
    assert hint in refused.value.hint


def test_a_byte_order_mark_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "zmesh.toml").write_text("[functions.a]\ntimeout_ms = 5\n", "utf-8-sig")
    assert is_project(tmp_path)
    assert read_project_file(tmp_path).functions["a"].timeout_ms == 5
    folder = tmp_path / "functions" / "a"
    folder.mkdir(parents=True)
    (folder / "zmesh.toml").write_text('entry = "b.py"\nmemory_mb = 300\n', "utf-8-sig")
    (folder / "b.py").write_text(HANDLER, "utf-8-sig")
    assert read_declared(folder).function["memory_mb"] == 300


def test_a_link_in_functions_has_its_own_name_and_settings(tmp_path: Path) -> None:
    toml = "[functions.file]\ntimeout_ms = 1\n[functions.folder]\ntimeout_ms = 2\n"
    (tmp_path / "functions").mkdir()
    (tmp_path / "functions" / "file.py").symlink_to("../elsewhere/main.py")
    (tmp_path / "functions" / "folder").symlink_to("../elsewhere")
    declared = project(tmp_path, toml, "elsewhere/main.py").functions
    assert [(one["name"], one["timeout_ms"]) for one in declared] == [("file", 1), ("folder", 2)]
    for name, milliseconds in (("file.py", 1), ("folder", 2)):
        function = read_declared(tmp_path / "functions" / name).function
        assert (function["name"], function["timeout_ms"]) == (name.removesuffix(".py"), milliseconds)


def test_a_project_is_not_taken_for_a_function(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(HANDLER)
    (tmp_path / "zmesh.toml").write_text("[functions.a]\n")
    with pytest.raises(CliError, match="is a project, not a function") as refused:
        read_declared(tmp_path)
    assert f"zmesh deploy {tmp_path}" in refused.value.hint


def test_a_key_that_is_hard_to_find_is_named_without_a_line() -> None:
    assert line_of("x = 1\n", ["functions", "a"]) is None


def test_functions_are_those_in_the_folder_and_those_with_a_path(tmp_path: Path) -> None:
    (tmp_path / "functions" / "_shared").mkdir(parents=True)
    found = project(
        tmp_path,
        '[functions.other]\npath = "src/x.py"\n[functions.deep]\nentry = "app/y.py"\nmemory_mb = 300\n',
        *("functions/one.py", "functions/two/main.py", "src/x.py", "functions/deep/app/y.py"),
    )
    assert {function["name"]: function["entry_file"] for function in found.functions} == {
        "one": None,
        "two": "main.py",
        "other": None,
        "deep": "app/y.py",
    }


def test_settings_of_the_project_win_over_those_in_the_folder_of_the_function(tmp_path: Path) -> None:
    (tmp_path / "functions" / "f").mkdir(parents=True)
    (tmp_path / "functions" / "f" / "zmesh.toml").write_text('entry = "a.py"\nmemory_mb = 300\ntimeout_ms = 7\n')
    found = project(tmp_path, "[functions.f]\ntimeout_ms = 9\n", "functions/f/a.py")
    assert [(one["memory_mb"], one["timeout_ms"]) for one in found.functions] == [(300, 9)]


@pytest.mark.parametrize(
    ("toml", "paths", "code"),
    [
        ("[functions.helo]\n", ["functions/hello.py"], "file_not_found"),
        ("", ["functions/a.py", "functions/a/main.py"], "name_taken"),
        ('[functions.f]\nentry = "../x.py"', ["functions/f/main.py", "functions/x.py"], "bad_settings_file"),
        ('[schedules.n]\nfunction = "f"\ncron = "@daily"\npayload = 2026-01-01', [], "bad_settings_file"),
        ('[schedules.n]\nfunction = "f"\ncron = "@daily"\npayload_json = "{"', [], "bad_settings_file"),
    ],
)
def test_what_cannot_be_deployed_is_refused_before_anything_is_sent(
    tmp_path: Path, toml: str, paths: list[str], code: str
) -> None:
    with pytest.raises(CliError) as refused:
        project(tmp_path, toml, *paths).request()
    assert refused.value.code == code


JSON = st.recursive(
    st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=20, deadline=None)
@given(st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=8), JSON, max_size=4))
def test_what_is_written_reads_the_same(values: dict[str, Any]) -> None:
    values = {name: value for name, value in values.items() if can_be_written(value)}
    try:
        text = table("", values)
        text.encode()
    except UnicodeEncodeError:
        return  # lone surrogates, which PostgreSQL does not keep either
    assert tomllib.loads(text) == values


MODELS: dict[str, type[BaseModel]] = {
    "functions": FunctionToDeclare,
    "schedules": ScheduleToDeclare,
    "webhooks": WebhookToDeclare,
    "changes": ChangeToDeclare,
}
OTHER_NAMES = {"env": "env_vars"}
ONLY_HERE = {"path", "entry", "aliases", "payload_json"}
ONLY_THERE = {"name", "language", "code", "files", "entry_file"}


@pytest.mark.parametrize("part", PARTS)
def test_the_keys_defaults_and_limits_are_those_of_the_api(part: str) -> None:
    ours, theirs = PARTS[part], MODELS[part]
    names = {OTHER_NAMES.get(name, name) for name in ours.model_fields.keys() - ONLY_HERE}
    assert names == theirs.model_fields.keys() - ONLY_THERE
    here, there = (model.model_json_schema()["properties"] for model in (ours, theirs))
    for name in ours.model_fields.keys() - ONLY_HERE:
        other = OTHER_NAMES.get(name, name)
        assert _default(ours, name) == _default(theirs, other), name
        for limit in ("minimum", "maximum", "enum"):
            assert here[name].get(limit) == there[other].get(limit), name


def _default(model: type[BaseModel], name: str) -> Any:
    field = model.model_fields[name]
    return field.get_default(call_default_factory=True) if not field.is_required() else "required"


def test_the_tests_of_new_projects_pass(tmp_path: Path) -> None:
    languages = ("javascript", "python", "typescript")
    for language in languages:
        initialising.write_project(tmp_path / language, language, "github")
        [function] = read_project(tmp_path / language).functions
        assert (function["name"], function["env_vars"]) == ("greeter", {"GREETING": "Welcome"})
    done = COMMANDS.run(["test"], cwd=tmp_path, env=clean_environment())
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["passed"] == len(languages)


@pytest.mark.parametrize("path", ["functions/x.py", "../x.py", "/etc/x.py", "functions/../../x.py"])
def test_a_pull_writes_nothing_outside_of_the_folder(tmp_path: Path, path: str) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    root.mkdir()
    elsewhere.mkdir()
    (root / "functions").symlink_to(elsewhere)
    with pytest.raises(CliError) as refused:
        check_inside(root, path)
    assert refused.value.code == "link_outside"


@pytest.mark.parametrize("link", ["functions/x.py", "app.py", "migrations/0001_a.sql", "migrations"])
def test_nothing_outside_of_the_folder_is_deployed_through_a_link(tmp_path: Path, link: str) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    (root / link).parent.mkdir(parents=True)
    (elsewhere / "0001_a.sql").parent.mkdir()
    (elsewhere / "0001_a.sql").write_text("create table secret (id int)")
    (root / link).symlink_to(elsewhere if link == "migrations" else elsewhere / "0001_a.sql")
    with pytest.raises(CliError) as refused:
        project(root, '[functions.app]\npath = "app.py"' if link == "app.py" else "")
    assert refused.value.code == "link_outside"


def test_what_was_pulled_is_remembered_in_the_folder_and_nowhere_else(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    (root / ".zmesh").mkdir(parents=True)
    elsewhere.write_text("kept")
    (root / ".zmesh" / "pulled.json").symlink_to(elsewhere)
    with pytest.raises(CliError):
        remember_pulled(root, {})
    assert elsewhere.read_text() == "kept"


def test_a_function_deployed_by_itself_has_the_settings_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(HANDLER)
    (tmp_path / "zmesh.toml").write_text(
        'memory_mb = 300\nenv = { A = "1" }\nsecrets = ["KEY"]\naliases = { live = 1 }\n'
    )
    function = read_declared(tmp_path).function
    assert (function["memory_mb"], function["env_vars"], "secrets" in function) == (300, {"A": "1"}, False)
    (tmp_path / "zmesh.toml").write_text('path = "main.py"\n')
    with pytest.raises(CliError, match="path is for"):
        read_declared(tmp_path)


@pytest.mark.parametrize(
    ("source", "name", "declared"),
    [
        ("functions/one.py", None, ("one", 1)),
        ("functions/plain.py", None, ("plain", None)),
        ("src/x.py", None, ("moved", 2)),
        ("functions/deep", None, ("deep", 3)),
        ("src/y.py", None, ("y", None)),
        ("src/y.py", "one", ("one", 1)),
        ("functions/one.py", "another", ("another", None)),
    ],
)
def test_one_function_of_a_project_has_the_settings_of_the_project(
    tmp_path: Path, source: str, name: str | None, declared: tuple[str, int | None]
) -> None:
    project(
        tmp_path,
        "[functions.one]\ntimeout_ms = 1\n[functions.moved]\npath = 'src/x.py'\ntimeout_ms = 2\n"
        "[functions.deep]\nentry = 'app/z.py'\ntimeout_ms = 3\n",
        *("functions/one.py", "functions/plain.py", "src/x.py", "src/y.py", "functions/deep/app/z.py"),
    )
    function = read_declared(tmp_path / source, name).function
    assert (function["name"], function.get("timeout_ms")) == declared


def test_a_setting_that_is_no_longer_declared_gets_its_default() -> None:
    before = {"name": "f", "timeout_ms": 5, "tags": ["a"], "env_vars": {"A": "1", "B": "2"}}
    assert with_resets({"name": "f", "env_vars": {"B": "3"}}, before) == {
        "name": "f",
        "timeout_ms": 10_000,
        "tags": [],
        "env_vars": {"A": None, "B": "3"},
    }
