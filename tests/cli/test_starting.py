"""Commands start fast: they import what they use. And what shells complete, without an import of the rest."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from cli.commands import COMMANDS
from cli.functions.group import PLACES
from cli.places import Place
from cli.root import zmesh
from tests.platform import COMMANDS as COMMAND
from tests.platform import REPOSITORY, Platform, clean_environment

IMPORTED = """
import sys
from cli.main import main
main(sys.argv[1:])
print(" ".join(sys.modules), file=sys.stderr)
"""
SLOW = {"asyncio", "packaging", "psycopg", "pydantic", "rich", "rich_click", "sql", "support.locks", "tomllib"}


def imported_by(*arguments: str) -> set[str]:
    environment = {**clean_environment(), "HOME": "/nonexistent"}
    command = [sys.executable, "-c", IMPORTED, *arguments]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=True)
    return set(done.stderr.splitlines()[-1].split())


def test_the_overview_imports_neither_click_nor_any_command() -> None:
    found = imported_by("--help")
    ours = {"cli.main", "cli.overview", "cli.commands", "cli.places", "cli.help_text"}
    assert {name for name in found if name.startswith("cli.")} == ours
    assert not found & (SLOW | {"click", "re", "typing", "ssl", "http.client", "urllib.request"})
    assert len(found) < 60


@pytest.mark.parametrize("group", ["functions", "schedules", "secrets"])
def test_help_of_a_group_imports_no_network(group: str) -> None:
    found = imported_by(group, "--help")
    assert not found & (SLOW | {"cli.functions.deploying"})
    assert len(found) < 240


def test_the_overview_is_the_help_of_the_command_however_it_is_asked_for(tmp_path: Path) -> None:
    printed = [COMMAND.run([*words], cwd=tmp_path, env=dict(os.environ), stdin="") for words in (["--help"], ["-h"])]
    context = click.Context(zmesh, info_name="zmesh")
    assert [done.stdout.rstrip() for done in printed] == [zmesh.get_help(context)] * 2
    assert all(f"\n  {name} " in printed[0].stdout for name in zmesh.commands)


def test_a_list_of_functions_imports_what_it_needs_to_ask_for_it() -> None:
    found = imported_by("functions", "list", "--url", "http://127.0.0.1:1", "--token", "x")
    assert "cli.functions.listing" in found
    assert not found & (SLOW | {"cli.functions.deploying", "cli.functions.versions", "cli.invocations.invoking"})
    assert len(found) < 260


@pytest.mark.parametrize(
    ("group", "name", "place"),
    [
        *((zmesh, name, place) for name, place in COMMANDS.items()),
        *((zmesh.commands["functions"], name, place) for name, place in PLACES.items()),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_list_of_commands_says_what_each_says_itself(group: click.Group, name: str, place: Place) -> None:
    command = group.commands[name]
    assert command.name == name
    assert " ".join((command.help or "").split("\n\n")[0].split()) == place.help


def completed(folder: Path, words: str, **environment: str) -> list[str]:
    """What bash would suggest for the last of these words."""
    variables = {"_ZMESH_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    environment = {**clean_environment(), "XDG_CONFIG_HOME": str(folder), **variables, **environment}
    done = COMMAND.run([], cwd=folder, env=environment, stdin="")
    assert done.stderr == ""
    return [line.removeprefix("plain,") for line in done.stdout.splitlines() if line]


def test_shells_complete_commands_options_and_names(tmp_path: Path, running_platform: Platform) -> None:
    running_platform.deploy("complete-me", "def handler(payload, zmesh): return 1")
    there = {"ZMESH_URL": running_platform.url, "ZMESH_TOKEN": running_platform.token}
    assert completed(tmp_path, "zmesh func") == ["functions"]
    assert "--follow" in completed(tmp_path, "zmesh logs --")
    assert completed(tmp_path, "zmesh functions show complete", **there) == ["complete-me"]
    assert completed(tmp_path, "zmesh keys create x --function complete", **there) == ["complete-me"]
    assert completed(tmp_path, "zmesh schedules list --project exa", **there) == ["examples"]
    assert completed(tmp_path, "zmesh functions alias list complete", **there) == ["complete-me"]


def test_names_that_cannot_be_had_are_none_and_said_to_nobody(tmp_path: Path) -> None:
    assert completed(tmp_path, "zmesh logs a") == []
    assert completed(tmp_path, "zmesh logs a", ZMESH_URL="http://127.0.0.1:1", ZMESH_TOKEN="x") == []
    assert completed(tmp_path, "zmesh logs a", ZMESH_PROFILE="nobody") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_names_the_command(tmp_path: Path, shell: str) -> None:
    done = COMMAND.run(["completion", shell], cwd=tmp_path, env=dict(os.environ), stdin="")
    assert f"_ZMESH_COMPLETE={shell}_complete" in done.stdout
    if shutil.which(shell):
        checked = subprocess.run([shell, "-n"], input=done.stdout, text=True, capture_output=True, check=False)
        assert (checked.returncode, checked.stderr) == (0, "")


def test_the_console_is_opened_by_a_link(tmp_path: Path, running_platform: Platform) -> None:
    environment = {"ZMESH_URL": running_platform.url, "ZMESH_TOKEN": running_platform.token, "BROWSER": "false"}
    done = COMMAND.run(["open"], cwd=tmp_path, env={**clean_environment(), **environment}, stdin="")
    assert done.stdout.startswith(f"{running_platform.url}/")
    assert "works once" in done.stderr
    listed = COMMAND.run(["projects", "list"], cwd=tmp_path, env={**clean_environment(), **environment}, stdin="")
    assert json.loads(listed.stdout)
