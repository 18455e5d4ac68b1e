"""Checks of JSON texts that build no values: millions of them would block the interpreter for seconds.

Each step works on a slice of bounded length, so that a thread that runs it lets others run in between.
"""

from __future__ import annotations

import math
import re

from support.executors import breathe

SLICE = 256 * 1024
LONGEST_NUMBER = 4300  # digits, as Python reads them
NUMERIC = frozenset("0123456789+-.eE")
BEFORE_VALUE = frozenset(" \t\r\n[,:")
AFTER_VALUE = frozenset(" \t\r\n],}")
NUL = "\\u0000"
_NUMERIC = re.compile(r"[-+.0-9eE]*")
# One pattern for each case: a search that starts with a literal is several times as fast.
_EXPONENTS = (re.compile(r"e\+?[0-9]{3}"), re.compile(r"E\+?[0-9]{3}"))


def has_escaped_nul(text: str) -> bool:
    """Whether a JSON text contains an escaped NUL character; an escaped backslash before u0000 is none."""
    at, looked_at = text.find(NUL), 0
    while at >= 0:
        first = at
        while first and text[first - 1] == "\\":
            first -= 1
        if (at - first) % 2 == 0:
            return True
        if at - looked_at > SLICE:
            looked_at = at
            breathe()
        at = text.find(NUL, at + 1)
    return False


def has_number_out_of_range(text: str) -> bool:
    """Whether a valid JSON text has a number that exceeds a double or has too many digits."""
    return any(_has_overflow(text, exponent) for exponent in _EXPONENTS) or _has_long_integer(text)


def has_more_values_than(most: int, text: str) -> bool:
    """Whether a valid JSON text has more members and elements than so many."""
    strings = _Strings(text)
    count, outside = 1, 0
    while count <= most:
        start, end = strings.next(outside)
        count += text.count(",", outside, start) + text.count("[", outside, start) + text.count("{", outside, start)
        if end == len(text):
            break
        outside = end
    return count > most


def _has_overflow(text: str, exponent: re.Pattern[str]) -> bool:
    strings = _Strings(text)
    end = 0  # of the last one looked at: a number has one exponent, what has several is in a string
    for start in range(0, len(text), SLICE):
        breathe()
        for found in exponent.finditer(text, start, start + SLICE + len("e+999")):
            if end <= found.start() < start + SLICE:
                first, end = _number_at(text, found.start())
                if _is_out_of_range(text, first, end, strings):
                    return True
    return False


def _has_long_integer(text: str) -> bool:
    """A number that long covers two neighbours of the characters this far apart."""
    stride = LONGEST_NUMBER // 2
    strings = _Strings(text)
    end = 0
    for at in range(0, len(text) - stride, stride):
        if at >= end and text[at] in NUMERIC and text[at + stride] in NUMERIC:
            first, end = _number_at(text, at)
            if _is_out_of_range(text, first, end, strings):
                return True
    return False


def _is_out_of_range(text: str, start: int, end: int, strings: _Strings) -> bool:
    """Whether these characters are such a number, rather than part of a string."""
    if (start and text[start - 1] not in BEFORE_VALUE) or (end < len(text) and text[end] not in AFTER_VALUE):
        return False
    number = text[start:end]
    if len(number) <= LONGEST_NUMBER and not _overflows(number):
        return False
    return not strings.cover(start)


def _number_at(text: str, at: int) -> tuple[int, int]:
    start, end = at, at
    while start and text[start - 1] in NUMERIC:
        start -= 1
    while (found := _NUMERIC.match(text, end, end + SLICE)) and found.end() > end:
        end = found.end()
    return start, end


def _overflows(number: str) -> bool:
    try:
        return math.isinf(float(number)) and not number.lstrip("-").isdigit()
    except ValueError:
        return False  # of a string


class _Strings:
    """Positions of the strings in a valid JSON text; if asked for increasing positions, it reads the text once."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._inside = False

    def cover(self, place: int) -> bool:
        """Whether this place is inside a string."""
        while (quote := self._text.find('"', self._at, place)) >= 0:
            if not (self._inside and self._is_escaped(quote)):
                self._inside = not self._inside
            self._at = quote + 1
        self._at = max(self._at, place)
        return self._inside

    def next(self, place: int) -> tuple[int, int]:
        """Start and end of the first string from a place outside of strings on; the text's end where there is none."""
        start = self._text.find('"', place)
        if start < 0:
            return len(self._text), len(self._text)
        end = self._text.find('"', start + 1)
        while self._is_escaped(end):
            end = self._text.find('"', end + 1)
        return start, end + 1

    def _is_escaped(self, quote: int) -> bool:
        first = quote
        while self._text[first - 1] == "\\":
            first -= 1
        return (quote - first) % 2 == 1
