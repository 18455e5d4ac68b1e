"""Data goes to stdout, as a table for people and as JSON for programs; progress goes to stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import rich_click as click

if TYPE_CHECKING:
    from rich.console import Console

Command = TypeVar("Command", bound=Callable[..., Any])


def output_option(command: Command) -> Command:
    """Adds --output to a command; its value arrives as `output`, "table" or "json"."""
    return click.option(
        "--output",
        type=click.Choice(["table", "json"]),
        envvar="ZMESH_OUTPUT",
        callback=lambda _context, _option, given: given or ("table" if sys.stdout.isatty() else "json"),
        help="[b]table[/] for people, [b]json[/] for programs. Default: table on a terminal, else json.",
    )(command)


def print_json(data: Any) -> None:
    """Indented on a terminal, one line elsewhere."""
    click.echo(json.dumps(data, ensure_ascii=False, indent=2 if sys.stdout.isatty() else None))


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]], nothing: str) -> None:
    """A table, or the sentence that says why there is none."""
    if not rows:
        progress(nothing)
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(*headings, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    _console().print(table)


def print_code(code: str, language: str) -> None:
    """Source text with its syntax highlighted where there are colours."""
    console = _console()
    if not console.is_terminal or console.no_color:
        click.echo(code)
        return
    from rich.syntax import Syntax

    console.print(Syntax(code, language, theme="ansi_dark", background_color="default"))


def progress(message: str = "") -> None:
    """One line about what goes on."""
    click.echo(message, err=True)


def style(text: str, fg: str | None = None, *, bold: bool = False, dim: bool = False) -> str:
    """Text in a colour, unless NO_COLOR asks for none."""
    plain = os.environ.get("NO_COLOR") or not (fg or bold or dim)
    return text if plain else click.style(text, fg=fg, bold=bold or None, dim=dim or None)


def local_time(text: str) -> str:
    """An ISO time in the person's time zone, to the second."""
    return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def ago(text: str) -> str:
    """How long ago an ISO time was."""
    seconds = max(0, (datetime.now(UTC) - datetime.fromisoformat(text)).total_seconds())
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= length:
            return f"{int(seconds // length)} {unit} ago"
    return "just now"


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False)
