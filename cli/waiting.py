"""A line on the terminal that moves while a command waits, so that it does not look stuck."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from cli.output import BEFORE_PROGRESS, QUIET, style, to_terminal

QUIET_SECONDS = 0.5  # shorter waits need no line
FRAME_SECONDS = 0.1
FRAMES = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
ERASE = "\r\x1b[2K"


@contextmanager
def moving(text: str) -> Iterator[None]:
    """Show what the command is waiting for, and for how long, until the block ends: only on a terminal and from the
    main thread, since other threads work behind what is on the screen. Progress may be printed meanwhile."""
    is_main = threading.current_thread() is threading.main_thread()
    if QUIET.get() or BEFORE_PROGRESS or not is_main or not sys.stderr.isatty():
        yield
        return
    done = threading.Event()
    drawing = threading.Thread(target=_draw, args=(text, done), daemon=True)
    BEFORE_PROGRESS.append(lambda: to_terminal(ERASE))
    drawing.start()
    try:
        yield
    finally:
        BEFORE_PROGRESS.clear()
        done.set()
        drawing.join()


def _draw(text: str, done: threading.Event) -> None:
    began, frame = time.monotonic(), 0
    if done.wait(QUIET_SECONDS):
        return
    while True:
        seconds = time.monotonic() - began
        to_terminal(f"{ERASE}{style(f'{FRAMES[frame % len(FRAMES)]} {text} … {seconds:.0f} s', dim=True)}")
        frame += 1
        if done.wait(FRAME_SECONDS):
            to_terminal(ERASE)
            return
