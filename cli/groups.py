"""Groups of commands, and how the help of commands looks."""

from __future__ import annotations

import re
from collections.abc import Iterable

import click

from cli.help_text import BOLD, CYAN, help_width, painted

OPTION = re.compile(r"(?<![\w-])--?[A-Za-z][\w-]*")
NAMES = 32  # columns; text beside a longer name starts on the next line


class Formatter(click.HelpFormatter):
    """Help with coloured headings and names, as wide as the terminal."""

    def __init__(self, indent_increment: int = 2, width: int | None = None, max_width: int | None = None) -> None:
        super().__init__(indent_increment, width or help_width(), max_width)

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        """How the command is written."""
        super().write_usage(painted(prog, BOLD), args, f"{painted(prefix or 'Usage:', BOLD)} ")

    def write_heading(self, heading: str) -> None:
        """A title over a list."""
        self.write(f"{'':>{self.current_indent}}{painted(f'{heading}:', BOLD)}\n")

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = NAMES, col_spacing: int = 2) -> None:
        """A list of names with their texts."""
        super().write_dl([(_painted_name(name), text) for name, text in rows], col_max, col_spacing)


def _painted_name(name: str) -> str:
    if not name.startswith("-"):
        return painted(name, CYAN)
    return OPTION.sub(lambda option: painted(option[0], CYAN), name)


click.Context.formatter_class = Formatter  # of every command


class Group(click.Group):
    """A group whose help shows the first paragraph of each command's help, uncut."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [(name, _first_paragraph(command)) for name, command in commands if command and not command.hidden]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _first_paragraph(command: click.Command) -> str:
    return " ".join((command.help or "").split("\n\n")[0].split())
