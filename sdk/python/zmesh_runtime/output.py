"""What a run prints: sys.stdout, sys.stderr, logging and warnings become log lines on the channel."""

from __future__ import annotations

import io
import json
import logging
import os
import sys
import threading
import time
from typing import TYPE_CHECKING

from zmesh_runtime.channel import Channel

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

MAX_LINE_BYTES = 64 * 1024
_now = time.time  # user code may replace time.time in its own tests


def _cut_notice(length: int) -> str:
    return f" … [line cut: {length} bytes, {MAX_LINE_BYTES} kept]"


class Output:
    """Sends log lines; after a fork by user code, the child writes to its pipes instead.

    Made before the template forks, because making it touches much memory; captures in the run's own process.
    """

    def __init__(self) -> None:
        self._channel: Channel | None = None
        self._streams = [_LineStream(self, "info", 1), _LineStream(self, "error", 2)]
        self._texts = [
            io.TextIOWrapper(stream, encoding="utf-8", errors="backslashreplace", write_through=True)  # type: ignore[type-var]
            for stream in self._streams
        ]
        self._handler = _LogHandler(self)

    def capture(self, channel: Channel) -> None:
        """From now on everything that this process prints goes to the channel."""
        self._channel = channel
        sys.stdout, sys.stderr = self._texts
        root = logging.root
        root.handlers[:] = [self._handler]
        if root.level != logging.INFO:
            root.setLevel(logging.INFO)
        logging.captureWarnings(True)

    def line(self, level: str, message: str) -> None:
        """Send one line, cut to its limit."""
        if len(message) * 4 > MAX_LINE_BYTES:
            encoded = message.encode("utf-8", "backslashreplace")
            if len(encoded) > MAX_LINE_BYTES:
                message = encoded[:MAX_LINE_BYTES].decode("utf-8", "ignore") + _cut_notice(len(encoded))
        self.send(level, message)

    def send(self, level: str, message: str) -> None:
        """Send one line of any length."""
        line = {"at": _now() * 1000, "level": level, "message": message}
        if self._channel is not None:
            self._channel.send(b"L", json.dumps(line).encode())

    def flush(self) -> None:
        """Send the lines that have not ended yet."""
        for stream in self._streams:
            stream.end_line_if_begun()

    def leave_to_parent(self) -> None:
        """In a process that user code forked: print to the pipes, which the sandbox reads as well."""
        for stream in self._streams:
            stream.to_pipe()


class _LineStream(io.RawIOBase):
    """The bytes under sys.stdout or sys.stderr, cut into lines."""

    def __init__(self, output: Output, level: str, fd: int) -> None:
        self._output = output
        self._level = level
        self._fd = fd
        self._lock = threading.RLock()  # a signal handler may print while the same thread prints
        self._kept = bytearray()
        self._length = 0
        self._piped = False

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd  # what a child process is given as its stdout

    def write(self, data: ReadableBuffer) -> int:
        given = bytes(data)
        if self._piped:
            return os.write(self._fd, given)
        with self._lock:
            *ended, rest = given.split(b"\n")
            for part in ended:
                self._keep(part)
                self._end_line()
            self._keep(rest)
        return len(given)

    def end_line_if_begun(self) -> None:
        with self._lock:
            if self._length:
                self._end_line()

    def to_pipe(self) -> None:
        self._lock = threading.RLock()
        self._kept.clear()
        self._length = 0
        self._piped = True

    def _keep(self, part: bytes) -> None:
        self._kept += part[: MAX_LINE_BYTES - len(self._kept)]
        self._length += len(part)

    def _end_line(self) -> None:
        cut = self._length > MAX_LINE_BYTES
        text = self._kept.decode("utf-8", "ignore" if cut else "replace").removesuffix("\r")
        if cut:
            text += _cut_notice(self._length)
        self._kept.clear()
        self._length = 0
        self._output.send(self._level, text)


class _LogHandler(logging.Handler):
    """Log records keep their level; a record of several lines becomes as many."""

    def __init__(self, output: Output) -> None:
        super().__init__()
        self._output = output

    def emit(self, record: logging.LogRecord) -> None:
        try:
            for line in self.format(record).rstrip("\n").split("\n"):
                self._output.line(_level_name(record.levelno), line)
        except Exception:
            self.handleError(record)


def _level_name(number: int) -> str:
    if number >= logging.ERROR:
        return "error"
    if number >= logging.WARNING:
        return "warning"
    return "info" if number >= logging.INFO else "debug"
