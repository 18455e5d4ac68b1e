"""The reference of the command line tells of every command, option, variable and error code, and of no other."""

from __future__ import annotations

import re
from collections.abc import Iterator

import click
import pytest

from cli.root import zmesh
from tests.platform import REPOSITORY

TEXT = (REPOSITORY / "docs" / "reference" / "cli.md").read_text()
SOURCES = [path.read_text() for path in (REPOSITORY / "cli").rglob("*.py")]


def commands(command: click.Command = zmesh, name: str = "zmesh") -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        for word, below in command.commands.items():
            yield from commands(below, f"{name} {word}")
    else:
        yield name, command


OPTIONS = {
    name
    for _, command in commands()
    for parameter in command.params
    if isinstance(parameter, click.Option)
    for name in (*parameter.opts, *parameter.secondary_opts)
}


@pytest.mark.parametrize("name", [name for name, _ in commands()])
def test_every_command_is_listed(name: str) -> None:
    assert f"`{name}" in TEXT


def test_the_options_are_those_there_are() -> None:
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", TEXT)) - {"--help"} == OPTIONS


def test_every_variable_of_an_option_is_named() -> None:
    for _, command in commands():
        for parameter in command.params:
            assert parameter.envvar is None or f"`{parameter.envvar}`" in TEXT


def test_the_error_codes_are_those_there_are() -> None:
    codes = {code for source in SOURCES for code in re.findall(r'[(,]\s*code="([a-z_]+)"', source)} - {"false"}
    assert codes <= set(re.findall(r"\b[a-z_]+\b", TEXT))
