"""Errors of the command line: message, stable code and hint."""

from __future__ import annotations

import difflib
import importlib.util
import sys
from collections.abc import Iterable
from typing import IO, Any

import click

from cli.output import style


class CliError(click.ClickException):
    """A message of one line, a stable code, the lines of code concerned, and a hint. Exits with status 1."""

    exit_code = 1

    def __init__(self, message: str, *, code: str, hint: str = "", place: str = "") -> None:
        super().__init__(message)
        self.place = place
        self.code = code
        self.hint = hint

    def show(self, file: IO[Any] | None = None) -> None:
        stream = file or sys.stderr
        click.echo(f"{style('error', fg='red', bold=True)}: {self.message} [{self.code}]", file=stream)
        if self.place:
            click.echo(self.place, file=stream)
        if self.hint:
            click.echo(f"{style(' hint', fg='cyan')}: {self.hint}", file=stream)


class CommandFailed(click.ClickException):
    """The command has printed the error itself; exits with status 1."""

    def __init__(self) -> None:
        super().__init__("")

    def show(self, file: IO[Any] | None = None) -> None:
        """Nothing more to say."""


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """A question with the nearest candidate, or nothing."""
    nearest = difflib.get_close_matches(word, list(candidates), 1, 0.6)
    return f"Did you mean {nearest[0]}?" if nearest else ""


def how_to_install(package: str) -> str:
    """The hint for a package that is missing from this command's environment. Those made by uv have no pip."""
    has_pip = importlib.util.find_spec("pip") is not None
    tool = f"{sys.executable} -m pip install" if has_pip else f"uv pip install --python {sys.executable}"
    return f"Install it: {tool} {package}"
