"""Time limits of tests in Python, as `zmesh test` sets them, and reports of progress to it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

VARIABLE = "ZMESH_TEST_TIMEOUT"  # seconds, 0: no limit
PROGRESS_VARIABLE = "ZMESH_TEST_PROGRESS"


class TimeLimits:
    """A plugin that ends imports of test files, tests and their fixtures that take too long."""

    def __init__(self, config: pytest.Config, seconds: float, progress: Path | None) -> None:
        self._config = config
        self._seconds = seconds
        self._progress = progress
        self._steps = count()

    @pytest.hookimpl(hookwrapper=True)
    def pytest_make_collect_report(self, collector: pytest.Collector) -> Iterator[None]:
        is_file = isinstance(collector, pytest.Module)
        with self._limited(collector.nodeid, collector.nodeid, self._seconds if is_file else 0, ""):
            yield

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Iterator[None]:
        with self._limited_test(item):
            yield

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        with self._limited_test(item):
            yield

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Iterator[None]:
        with self._limited_test(item):
            yield

    @contextmanager
    def _limited_test(self, item: pytest.Item) -> Iterator[None]:
        more = ", or of this test with @pytest.mark.timeout(SECONDS)"
        with self._limited(item.name, item.location[0], self._seconds_of(item), more):
            yield

    def _seconds_of(self, item: pytest.Item) -> float:
        marker = item.get_closest_marker("timeout")
        if self._config.pluginmanager.hasplugin("timeout") and (marker or _has_limit_of_its_own(self._config)):
            return 0  # the package pytest-timeout takes care of it
        if marker is None:
            return self._seconds
        return float((*marker.args, *marker.kwargs.values(), self._seconds)[0])

    @contextmanager
    def _limited(self, name: str, file: str, seconds: float, more: str) -> Iterator[None]:
        self._tell(name, file, seconds)
        if seconds <= 0 or not hasattr(signal, "setitimer"):
            yield
            return

        def expire(*_: object) -> None:
            __tracebackhide__ = True
            pytest.fail(
                f"{name} took longer than {seconds:g} s: raise the limit with zmesh test --timeout SECONDS{more}"
            )

        before = signal.signal(signal.SIGALRM, expire)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
            self._tell("", file, 0)

    def _tell(self, name: str, file: str, seconds: float) -> None:
        if self._progress is not None:
            told: dict[str, Any] = {"pid": os.getpid(), "name": name, "file": file, "seconds": seconds}
            self._progress.write_text(json.dumps({**told, "step": next(self._steps)}))


def _has_limit_of_its_own(config: pytest.Config) -> bool:
    return bool(config.getoption("timeout", None) or config.getini("timeout") or os.environ.get("PYTEST_TIMEOUT"))


def add_time_limits(config: pytest.Config) -> None:
    """Apply the limits that `zmesh test` has set."""
    if not config.pluginmanager.hasplugin("timeout"):
        config.addinivalue_line("markers", "timeout(seconds): time limit of this test under `zmesh test`; 0: none")
    if seconds := os.environ.get(VARIABLE):
        progress = os.environ.get(PROGRESS_VARIABLE)
        config.pluginmanager.register(TimeLimits(config, float(seconds), Path(progress) if progress else None))
