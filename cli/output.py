"""Data goes to stdout, as a table for people and as JSON for programs; progress goes to stderr."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from rich.console import Console

Command = TypeVar("Command", bound=Callable[..., Any])
NO_TEXT = re.compile(
    r"(?P<colour>\x1b\[[0-9;:]*m)"
    r"|[\x00-\x08\x0b-\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]|\r(?!\n)"
    r"|[\u202a-\u202e\u2066-\u2069]"  # change the order in which text is shown
)


class _TextOnly(io.TextIOWrapper):
    """Escapes control characters and unencodable characters as JSON does; colours pass."""

    def write(self, text: str, /) -> int:
        super().write(NO_TEXT.sub(_escaped, text) if NO_TEXT.search(text) else text)
        return len(text)


def _escaped(found: re.Match[str]) -> str:
    return found[0] if found["colour"] else f"\\u{ord(found[0]):04x}"


def show_only_text() -> None:
    """Whatever a function prints, throws or returns can neither break a command nor control the terminal."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is getattr(sys, f"__{name}__") and type(stream) is io.TextIOWrapper:  # a test's own stays
            encoding, line_buffering = stream.encoding, stream.line_buffering
            setattr(sys, name, _TextOnly(stream.detach(), encoding, "backslashreplace", line_buffering=line_buffering))


def output_option(command: Command) -> Command:
    """Adds --output to a command; its value arrives as `output`, "table" or "json"."""
    return click.option(
        "--output",
        type=click.Choice(["table", "json"]),
        envvar="ZMESH_OUTPUT",
        # Completion in shells parses the command, too, and must print nothing.
        callback=lambda context, _option, given: given or ("" if context.resilient_parsing else _default_output()),
        help="table for people, json for programs. Default: table on a terminal, else json.",
    )(command)


def _default_output() -> str:
    if sys.stdout.isatty():
        return "table"
    if sys.stderr.isatty():  # a person who pipes, such as into head
        progress(style("Standard output is not a terminal, so this is JSON; --output table prints a table.", dim=True))
    return "json"


def print_json(data: Any) -> None:
    """Indented on a terminal, one line elsewhere."""
    is_utf8 = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    click.echo(json.dumps(data, ensure_ascii=not is_utf8, indent=2 if sys.stdout.isatty() else None))


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]], nothing: str) -> None:
    """A table, or a sentence if there are no rows."""
    if not rows:
        progress(nothing)
        return
    from cli.help_text import terminal_width
    from cli.tables import table

    for number, lines in enumerate(table(headings, rows, terminal_width())):
        for line in lines:
            click.echo(line if number else style(line, bold=True))


def unique_length(ids: Sequence[str], shortest: int) -> int:
    """The shortest length at which these ids differ; commands accept such a prefix."""
    lengths = range(shortest, max(map(len, ids), default=shortest) + 1)
    return next((n for n in lengths if len({id[:n] for id in ids}) == len(set(ids))), shortest)


def print_code(code: str, language: str) -> None:
    """Source text with its syntax highlighted where there are colours."""
    console = open_console()
    if not console.is_terminal or console.no_color:
        click.echo(code)
        return
    from rich.syntax import Syntax

    highlighted = Syntax(code, language, theme="ansi_dark", background_color="default").highlight(code)
    console.print(highlighted, soft_wrap=True, end="")  # a Syntax by itself cuts what is wider than the terminal


BEFORE_PROGRESS: list[Callable[[], None]] = []  # erase the line that moves
QUIET: ContextVar[bool] = ContextVar("quiet", default=False)  # nobody watches: an agent's call within the API


def progress(message: str = "") -> None:
    """Print a line of progress to stderr."""
    if not QUIET.get():
        make_room()
        click.echo(message, err=True)


def make_room() -> None:
    """Erase the line that moves, before something is printed while a command waits."""
    for erase in BEFORE_PROGRESS:
        erase()


def to_terminal(controls: str) -> None:
    """Write control characters to stderr directly, since the stream escapes them."""
    os.write(sys.stderr.fileno(), controls.encode(sys.stderr.encoding, "replace"))


def style(text: str, fg: str | None = None, *, bold: bool = False, dim: bool = False) -> str:
    """Text in a colour, unless NO_COLOR asks for none."""
    plain = os.environ.get("NO_COLOR") or not (fg or bold or dim)
    return text if plain else click.style(text, fg=fg, bold=bold or None, dim=dim or None)


def local_time(text: str) -> str:
    """An ISO time in the person's time zone, to the second."""
    return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def ago(text: str) -> str:
    """How long ago an ISO time was."""
    found = age(text)
    return "just now" if found.endswith(" s") else f"{found} ago"


def age(text: str) -> str:
    """The time since an ISO time, in its largest unit."""
    seconds = max(0, (datetime.now(UTC) - datetime.fromisoformat(text)).total_seconds())
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{int(seconds)} s"


def open_console() -> Console:
    """Where tables are printed: standard output."""
    from rich.console import Console

    return Console(highlight=False)
