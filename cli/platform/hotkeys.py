"""Commands of one key on a terminal, beside a program that prints."""

from __future__ import annotations

import os
import select
import sys
import termios
import threading
import tty
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from cli.errors import CliError

POLL_SECONDS = 0.2
MOST_AT_ONCE = 4  # more is a paste
Actions = Mapping[str, Callable[[], None]]


def is_terminal() -> bool:
    """Whether somebody can press keys."""
    return sys.stdin.isatty() and sys.stderr.isatty()


@contextmanager
def single_keys() -> Iterator[None]:
    """Keys arrive at once and are not echoed; Ctrl+C stays a signal. The terminal is left as it was."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def meant(pressed: str) -> str:
    """The keys among what was read at once: not a paste, and not the sequence of an arrow key."""
    return "" if len(pressed) > MOST_AT_ONCE or pressed.startswith("\x1b") else pressed


def obey(actions: Actions, stop: threading.Event) -> None:
    """Carry out what is pressed, until `stop` is set or the terminal goes. Errors are shown."""
    descriptor = sys.stdin.fileno()
    while not stop.is_set():
        if not select.select([descriptor], [], [], POLL_SECONDS)[0]:
            continue
        try:
            pressed = os.read(descriptor, 64).decode(errors="replace")
        except OSError:
            return
        if not pressed:
            return
        for key in meant(pressed):
            try:
                actions.get(key, lambda: None)()
            except CliError as error:
                error.show()
