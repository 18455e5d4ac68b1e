"""Processes that tests start: what they inherit from who started the tests, and their end when a test's time is up."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

GRACE_SECONDS = 2.0  # for a test that fails for its time to end its children itself


def restore_signals() -> None:
    """A shell starts background programs with SIGINT ignored, and children would inherit that."""
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:  # Python itself ignores these two
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def children_of(pid: int) -> list[int]:
    """Its children, zombies included."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            found += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
    return found


def descendants(pid: int) -> list[int]:
    """Every process below this one."""
    found = children_of(pid)
    return found + [below for child in found for below in descendants(child)]


def ancestors(pid: int) -> list[int]:
    """Its parent, that one's parent, and so on."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        while parent := int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]):
            found.append(parent)
            pid = parent
    return found


def user_of(pid: int) -> int | None:
    """Whose process it is; None when it is gone."""
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return None


class EndsChildrenInTime:
    """A pytest plugin: a test that waits for its child when its time is up fails, instead of waiting for ever.

    pytest-timeout raises in the test, but leaving the test's `with subprocess.Popen(…)` waits for the child once more.
    """

    def __init__(self) -> None:
        self._before: set[int] = set()
        self._timer: threading.Timer | None = None

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self) -> Iterator[None]:
        self._before = set(children_of(os.getpid()))
        yield

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Iterator[None]:
        self._before = set(children_of(os.getpid()))  # fixtures that later tests use are spared
        yield

    @pytest.hookimpl(tryfirst=True)
    def pytest_timeout_set_timer(self, item: pytest.Item, settings: Any) -> None:
        self._cancel()
        self._timer = threading.Timer(settings.timeout + GRACE_SECONDS, self._end_children)
        self._timer.daemon = True
        self._timer.start()

    @pytest.hookimpl(tryfirst=True)
    def pytest_timeout_cancel_timer(self, item: pytest.Item) -> None:
        self._cancel()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end_children(self) -> None:
        for child in set(children_of(os.getpid())) - self._before:
            for pid in (child, *descendants(child)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def as_descriptor_3(descriptor: int) -> Callable[[], object]:
    """A preexec_fn for Popen, with `pass_fds=(3,)`."""
    return lambda: os.dup2(descriptor, 3, inheritable=True)
