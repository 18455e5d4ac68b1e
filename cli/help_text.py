"""Help as text: paragraphs and aligned lists, in colours on a terminal. It imports nothing, so that help is quick."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # typing itself would be an import
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

WIDEST = 100  # longer lines are hard to read
WITHOUT_TERMINAL = 80
BOLD, CYAN = "1", "36"


def has_colours() -> bool:
    """Whether standard output shows colours, and nobody asked for none."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def painted(text: str, *colours: str) -> str:
    """The text in a colour where there are colours."""
    return f"\x1b[{';'.join(colours)}m{text}\x1b[0m" if has_colours() else text


def terminal_width() -> int:
    """Columns of the terminal of standard output."""
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal() and int(given):
        return int(given)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or WITHOUT_TERMINAL
    except (OSError, ValueError):
        return WITHOUT_TERMINAL


def help_width() -> int:
    """How many columns help may fill."""
    return min(terminal_width(), WIDEST)


def paragraph(text: str, indent: int, room: int) -> str:
    """The words of a text in lines that fit."""
    lines = [""]
    for word in text.split():
        if lines[-1] and indent + len(lines[-1]) + 1 + len(word) > room:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return "".join(f"{' ' * indent}{line}\n" for line in lines)


def usage(command: str, arguments: str) -> str:
    """The line that shows how a command is written."""
    return f"{painted('Usage:', BOLD)} {painted(command, BOLD)} {arguments}\n"


def section(title: str, rows: Iterable[tuple[str, str]], names: int, room: int) -> str:
    """A heading, and below it a list whose names take this many columns."""
    return f"\n{painted(f'{title}:', BOLD)}\n" + "".join(_row(name, text, names, room) for name, text in rows)


def width_of(names: Sequence[str]) -> int:
    """The columns that names take in a list."""
    return max(map(len, names), default=0)


def _row(name: str, text: str, names: int, room: int) -> str:
    below = paragraph(text, names + 4, room)
    return f"  {painted(name, CYAN)}{below[2 + len(name) :]}"
