"""What a run prints: sys.stdout, sys.stderr, logging and warnings become log lines on the channel.

Logging is configured as in any Python program: while the function has added no handler, records go to the last-resort
handler, which is ours. A StreamHandler of the function's own writes to our streams, and its lines keep the level of
the record.
"""

from __future__ import annotations

import fcntl
import io
import json
import logging
import os
import sys
import termios
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from zmesh_runtime.channel import Channel
from zmesh_runtime.frames import LOG, LONGEST_LINE

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_NOTHING = bytes(4)
PATIENCE_SECONDS = 0.5
STEP_SECONDS = 0.0005
_now, _sleep = time.time, time.sleep  # user code may replace them in its own tests


def _cut_notice(length: int) -> str:
    return f" … [line cut: {length} bytes, {LONGEST_LINE} kept]"


class Output:
    """Sends log lines; after a fork by user code, the child writes to its pipes instead.

    Created before the template forks, because creating it writes to much memory; captures in the run's own process.
    """

    def __init__(self) -> None:
        self._channel: Channel | None = None
        self._is_taken_over = False
        self._streams = [_LineStream(self, "info", 1), _LineStream(self, "error", 2)]
        self._texts = [
            io.TextIOWrapper(stream, encoding="utf-8", errors="backslashreplace", write_through=True)
            for stream in self._streams
        ]
        for text in self._texts:
            text.mode = "w"  # type: ignore[misc]  # as Python itself sets it
        self._pipes = _Pipes()
        self._handler = _LogHandler(self)
        self._levels = threading.local()
        self._configure = logging.basicConfig
        self._emit = logging.StreamHandler.emit

    def discard(self) -> None:
        """In a template that executes user code: what that prints goes nowhere, and what it sets up stays as it is."""
        self._take_over()
        self._is_taken_over = True

    def capture(self, channel: Channel) -> None:
        """From now on everything that this process prints goes to the channel."""
        self._channel = channel
        if not self._is_taken_over:
            self._take_over()

    def _take_over(self) -> None:
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__ = self._texts  # type: ignore[misc]
        output = self

        def emit(handler: logging.StreamHandler[Any], record: logging.LogRecord) -> None:
            with output.at_level(record.levelno):
                output._emit(handler, record)

        logging.StreamHandler.emit = emit  # type: ignore[method-assign, assignment]
        logging.basicConfig = self._basic_config
        logging.lastResort = self._handler
        warnings.showwarning = self._show_warning
        if logging.root.level != logging.INFO:
            logging.root.setLevel(logging.INFO)

    def _basic_config(self, **options: Any) -> None:
        """Without options the caller is logging.info() or similar: the last-resort handler is enough then.

        Log lines have their own level, so text sent to them does not begin with it unless a format says so.
        """
        if not options and not logging.root.handlers:
            return
        if not {"format", "filename", "handlers"} & options.keys():
            options["format"] = "%(message)s"
        self._configure(**options)

    def _show_warning(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        text = warnings.formatwarning(message, category, filename, lineno, line)
        with self.at_level(logging.WARNING):
            print(text, end="", file=file or sys.stderr)

    @contextmanager
    def at_level(self, number: int) -> Iterator[None]:
        """Lines that this thread prints in this block have this logging level."""
        self._levels.name = _level_name(number)
        try:
            yield
        finally:
            self._levels.name = None

    @property
    def level(self) -> str | None:
        return getattr(self._levels, "name", None)

    def line(self, level: str, message: str) -> None:
        """Send one line, cut to the limit."""
        if len(message) * 4 > LONGEST_LINE:
            encoded = message.encode("utf-8", "backslashreplace")
            if len(encoded) > LONGEST_LINE:
                message = encoded[:LONGEST_LINE].decode("utf-8", "ignore") + _cut_notice(len(encoded))
        self.send(level, message)

    def send(self, level: str, message: str) -> None:
        """Send one line of any length."""
        line = {"at": _now() * 1000, "level": level, "message": message}
        if self._channel is not None:
            self._pipes.wait_until_read()
            self._channel.send(LOG, json.dumps(line).encode())

    def flush(self) -> None:
        """Send the lines that have not ended yet."""
        for stream in self._streams:
            stream.end_line_if_begun()

    def leave_to_parent(self) -> None:
        """In a process that user code forked: print to the pipes, which the sandbox reads as well."""
        for stream in self._streams:
            stream.to_pipe()


class _Pipes:
    """The pipes of standard output and error, used by child processes and os.write(): their content goes first."""

    def __init__(self) -> None:
        self._in_order = True

    def wait_until_read(self) -> None:
        """Wait until the sandbox has read everything; if that takes long, order is no longer guaranteed."""
        waited = 0.0
        while self._in_order and any(map(_unread, (1, 2))):
            _sleep(STEP_SECONDS)
            waited += STEP_SECONDS
            self._in_order = waited < PATIENCE_SECONDS


def _unread(fd: int) -> bool:
    try:
        return fcntl.ioctl(fd, termios.FIONREAD, _NOTHING) != _NOTHING
    except OSError:
        return False  # user code has closed it or put something else in its place


class _LineStream(io.RawIOBase):
    """The bytes under sys.stdout or sys.stderr, cut into lines."""

    mode = "w"

    def __init__(self, output: Output, level: str, fd: int) -> None:
        self.name = {1: "<stdout>", 2: "<stderr>"}[fd]
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
        self._kept += part[: LONGEST_LINE - len(self._kept)]
        self._length += len(part)

    def _end_line(self) -> None:
        cut = self._length > LONGEST_LINE
        text = self._kept.decode("utf-8", "ignore" if cut else "replace").removesuffix("\r")
        if cut:
            text += _cut_notice(self._length)
        self._kept.clear()
        self._length = 0
        self._output.send(self._output.level or self._level, text)


class _LogHandler(logging.Handler):
    """Log records keep their level; a record of several lines becomes several log lines."""

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
