"""A command that is typed wrongly is answered as all errors are: what is wrong, a code, and what to write instead."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.platform import COMMANDS as COMMAND
from tests.platform import clean_environment


def refused(folder: Path, *words: str, **environment: str) -> list[str]:
    """The lines that a misused command prints, all of them to standard error."""
    done = COMMAND.run([*words], cwd=folder, env={**clean_environment(), **environment}, stdin="")
    assert (done.returncode, done.stdout) == (2, "")
    return done.stderr.splitlines()


@pytest.mark.parametrize(
    ("words", "error", "hint"),
    [
        (
            "schedules create --timezon UTC",
            "`zmesh schedules create` has no option --timezon. [unknown_option]",
            "Did you mean --timezone? See `zmesh schedules create --help`.",
        ),
        (
            "--follow logs",
            "`zmesh` has no option --follow. [unknown_option]",
            "Options come after the command: `zmesh COMMAND --follow`. See `zmesh --help`.",
        ),
        ("fucntions", '`zmesh` has no command "fucntions". [unknown_command]', "Did you mean functions?"),
        ("functions lst", '`zmesh functions` has no command "lst". [unknown_command]', "Did you mean list?"),
        ("rollback a 1", '`zmesh` has no command "rollback". [unknown_command]', "mean `zmesh functions rollback`?"),
        ("list", '`zmesh` has no command "list". [unknown_command]', "Did you mean `zmesh functions list`?"),
        (
            "schedules create report",
            "Missing argument 'CRON'. [missing_argument]",
            "Write `zmesh schedules create [OPTIONS] FUNCTION CRON`.",
        ),
        ("functions show a b", "Got unexpected extra argument (b). [bad_usage]", "zmesh functions show [OPTIONS] NAME"),
        ("invocations list --status eror", "'eror' is not one of", "Did you mean error?"),
        ("dev --port many", "'many' is not a valid integer range. [bad_value]", "See `zmesh dev --help`."),
        ("functions update a", "Nothing to change: give at least one setting. [bad_usage]", "functions update --help"),
        ("secrets set A", "standard input is empty. [bad_usage]", "See `zmesh secrets set --help`."),
    ],
)
def test_the_error_says_what_to_write_instead(words: str, error: str, hint: str, tmp_path: Path) -> None:
    there = {"ZMESH_URL": "http://127.0.0.1:1", "ZMESH_TOKEN": "x"}
    first, second = refused(tmp_path, *words.split(), **there)
    assert first.startswith("error: ")
    assert error in first
    assert second.startswith(" hint: ")
    assert hint in second


def test_a_group_without_a_command_prints_its_help(tmp_path: Path) -> None:
    done = COMMAND.run(["functions"], cwd=tmp_path, env=dict(os.environ), stdin="")
    assert done.returncode == 2
    assert done.stderr.startswith("Usage: zmesh functions [OPTIONS] COMMAND")
