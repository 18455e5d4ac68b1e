"""Commands that pages only show are written as the command line takes them. Those of examples are run, elsewhere."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import click
import pytest

from cli.root import zmesh
from tests.docs.test_examples_in_docs import FENCE, PAGES, REPOSITORY

SHOWN = [page for page in PAGES if page.parent.name != "decisions"]
INLINE = re.compile(r"`((?:[A-Z_]+=\S+ )*zmesh [^`]+)`")
NAMES_OF_SESSIONS = ["for", "the", "next", "run"]  # as pg_stat_activity shows them
ENDS = {"|", "&&", "||", ";", ">", "2>&1", "<", "\\|"}


def commands_on(page: Path) -> Iterator[list[str]]:
    """The words after `zmesh` of each command that is shown, in a block of a shell or within a line."""
    text = page.read_text("utf-8")
    blocks = [found["text"] for found in FENCE.finditer(text) if found["info"].split()[:1] == ["sh"]]
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    for line in (*lines, *INLINE.findall(FENCE.sub("", text))):
        with suppress(ValueError):  # a quotation that goes on elsewhere
            words = shlex.split(line, comments=True)
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words.pop(0)
            if words[:1] == ["zmesh"] and words[1:] != NAMES_OF_SESSIONS:
                end = next((n for n, word in enumerate(words) if word in ENDS), len(words))
                yield words[1:end]


def fault(words: list[str]) -> str | None:
    """What the command line has none of."""
    command: click.Command = zmesh
    rest = [word for word in words if word not in ("…", "...", "COMMAND")]
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        name, *rest = rest
        if name == "*" or "|" in name:
            return None
        if name not in command.commands:
            return f"command {name}"
        command = command.commands[name]
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    options = [word.partition("=")[0] for word in rest if re.match(r"--[a-z]", word)]
    return next((option for option in options if option not in known | {"--help", "--version"}), None)


@pytest.mark.parametrize("page", SHOWN, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_command_exists_with_its_options(page: Path) -> None:
    faults = {shlex.join(["zmesh", *words]): fault(words) for words in commands_on(page)}
    assert {command: what for command, what in faults.items() if what} == {}


def test_a_command_or_option_that_is_not_there_is_found() -> None:
    assert fault(["functions", "lst"]) == "command lst"
    assert fault(["deploy", "--prune", "--forced"]) == "--forced"
    assert fault(["functions", "diff", "NAME", "[BEFORE", "[AFTER]]"]) is None
    assert sum(len(list(commands_on(page))) for page in SHOWN) > 200
