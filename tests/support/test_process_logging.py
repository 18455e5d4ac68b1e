"""Whatever is in a message, it stays one line, and a traceback looks like none of ours."""

from __future__ import annotations

import logging
import sys

from support.process_logging import Formatter

FORGED = "2026-01-01 00:00:00,000 INFO api.access GET / 200"


def formatted(message: str, *values: object, error: BaseException | None = None) -> str:
    record = logging.LogRecord("test", logging.INFO, "", 0, message, values, None)
    if error is not None:
        try:
            raise error
        except type(error):
            record.exc_info = sys.exc_info()
    return Formatter().format(record)


def test_control_characters_are_escaped() -> None:
    for control in ("\n", "\r", "\x1b[2J", "\x00", "\x85", "\u2028"):
        line = formatted("database: %s", f"bad{control}{FORGED}")
        assert line.splitlines() == [line]
        assert ascii(control[0])[1:-1] in line
    assert "schön" in formatted("schön")


def test_a_traceback_is_indented() -> None:
    lines = formatted("failed", error=ValueError(f"bad\n{FORGED}\r{FORGED}")).split("\n")
    assert len(lines) > 3
    assert all(line.startswith("    ") for line in lines[1:])
    assert not any("\r" in line for line in lines)
