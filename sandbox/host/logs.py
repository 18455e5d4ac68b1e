"""Keeps what a run prints, within limits and with a visible notice where something is left out."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from sandbox.model import LogLine
from sandbox.protocol.table import LONGEST_LINE

LEVELS = ("debug", "info", "warning", "error")
TAIL_BYTES = 16 * 1024
MOST_MALFORMED = 100  # frames kept as text; to find out that one is malformed costs the most


class LogKeeper:
    """The lines of one run. All input comes from hostile code."""

    def __init__(self, max_bytes: int, max_lines: int, lines: list[LogLine] | None = None) -> None:
        """Lines are appended to `lines`."""
        self.lines: list[LogLine] = [] if lines is None else lines
        self._bytes_left = max_bytes
        self._lines_left = max_lines
        self._malformed_left = MOST_MALFORMED
        self.full = False
        self._partial = {"info": b"", "error": b""}
        self.error_tail = b""

    def add_frame(self, body: bytes) -> None:
        """A line that the runtime sent with level and time; of malformed ones, the first are kept as text."""
        if self.full:
            return
        try:
            line = json.loads(body)
            level = line["level"] if line["level"] in LEVELS else "info"
            self._keep(self._time(line["at"]), level, str(line["message"]))
        except (ValueError, TypeError, KeyError, RecursionError):
            if self._malformed_left == 0:
                self._drop_the_rest()
                return
            self._malformed_left -= 1
            self._keep(_now(), "info", body.decode("utf-8", "replace"))

    def add_bytes(self, level: str, data: bytes) -> None:
        """Raw bytes of standard output (info) or standard error (error)."""
        if level == "error":
            self.error_tail = (self.error_tail + data)[-TAIL_BYTES:]
        if self.full:
            return
        *complete, rest = (self._partial[level] + data).split(b"\n")
        while len(rest) > LONGEST_LINE:
            complete.append(rest[:LONGEST_LINE])
            rest = rest[LONGEST_LINE:]
        self._partial[level] = rest
        for line in complete:
            if self.full:
                break
            self._keep(_now(), level, line.decode("utf-8", "replace"))

    def flush(self) -> None:
        """Keep the last lines even if no newline ended them."""
        for level, rest in self._partial.items():
            if rest:
                self._keep(_now(), level, rest.decode("utf-8", "replace"))
        self._partial = {"info": b"", "error": b""}

    def _keep(self, at: datetime, level: str, message: str) -> None:
        if self.full:
            return
        message = message[:LONGEST_LINE]
        size = len(message.encode("utf-8", "replace")) + 16
        if self._lines_left < 1 or size > self._bytes_left:
            self._drop_the_rest()
            return
        self._lines_left -= 1
        self._bytes_left -= size
        self.lines.append(LogLine(at, level, message))

    def _drop_the_rest(self) -> None:
        self.full = True
        self.lines.append(LogLine(_now(), "warning", "[zmesh] output beyond the limit was dropped from here on"))

    @staticmethod
    def _time(milliseconds: object) -> datetime:
        """The run's own time of a line, if it is plausible."""
        now = _now()
        if not isinstance(milliseconds, int | float):
            return now
        try:
            at = datetime.fromtimestamp(milliseconds / 1000, UTC)
        except (ValueError, OverflowError, OSError):
            return now
        return at if abs((now - at).total_seconds()) < 3600 else now


def _now() -> datetime:
    return datetime.now(UTC)
