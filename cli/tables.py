"""Tables in plain text: columns as wide as their cells, and narrower where the terminal is."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence

UNBROKEN = 24  # cells up to this width stay on one line
GAP = 2  # between columns


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], room: int) -> Iterator[list[str]]:
    """The lines of each row, that of the headings first; none is wider than the room."""
    cells = list(zip(headings, *rows, strict=True))
    widths = _fitted(cells, room)
    for row in (headings, *rows):
        wrapped = [list(_wrapped(cell, width)) for cell, width in zip(row, widths, strict=True)]
        height = max(map(len, wrapped))
        lines = ([lines[n] if n < len(lines) else "" for lines in wrapped] for n in range(height))
        yield [(" " * GAP).join(map(_padded, line, widths)).rstrip() for line in lines]


def width_of(text: str) -> int:
    """Columns that a text takes: two for each wide letter, such as those of Chinese, none for combining marks."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )


def _fitted(cells: Sequence[Sequence[str]], room: int) -> list[int]:
    """Widths of the columns: neither words nor short cells are broken as long as that is possible."""
    wanted = [max(map(width_of, column)) for column in cells]
    words = [max(map(width_of, " ".join(column).split()), default=0) for column in cells]
    room -= GAP * (len(cells) - 1)
    unbroken = [max(word, min(width, UNBROKEN)) for word, width in zip(words, wanted, strict=True)]
    for least in (unbroken, words):
        if sum(least) <= room:
            return _widened(least, wanted, room)
    return _shared(wanted, room)


def _widened(least: list[int], wanted: list[int], room: int) -> list[int]:
    """The spare room goes to the columns that need least of it."""
    spare, widths = room - sum(least), list(least)
    for column in sorted(range(len(least)), key=lambda column: wanted[column] - least[column]):
        more = min(spare, wanted[column] - least[column])
        widths[column] += more
        spare -= more
    return widths


def _shared(wanted: list[int], room: int) -> list[int]:
    """No column is wider than the widest that lets all fit."""
    most = max(1, room // len(wanted))
    while sum(min(width, most + 1) for width in wanted) <= room:
        most += 1
    return [min(width, most) for width in wanted]


def _wrapped(text: str, width: int) -> Iterator[str]:
    for paragraph in text.split("\n"):
        line = ""
        for word in paragraph.split(" "):
            joined = f"{line} {word}" if line else word
            if width_of(joined) <= width:
                line = joined
                continue
            if line:
                yield line
            *folded, line = _folded(word, width)
            yield from folded
        yield line


def _folded(word: str, width: int) -> Iterator[str]:
    """A word in pieces, for columns that are narrower than it."""
    piece, taken = "", 0
    for letter in word:
        needed = width_of(letter)
        if piece and taken + needed > width:
            yield piece
            piece, taken = "", 0
        piece, taken = piece + letter, taken + needed
    yield piece


def _padded(text: str, width: int) -> str:
    return text + " " * (width - width_of(text))
