"""The tests' own processes, whatever shell started the tests."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from tests.platform import REPOSITORY, clean_environment

INTERRUPTED = """
import signal, subprocess, sys

def test_interrupting():
    with subprocess.Popen([sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)"],
                          stdout=subprocess.PIPE) as child:
        child.stdout.readline()
        child.send_signal(signal.SIGINT)
        child.wait()
"""
WAITING = """
import subprocess, sys

def test_waiting():
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as child:
        child.wait()

def test_next():
    pass
"""
CONFTEST = """
from tests.processes import EndsChildrenInTime, restore_signals

restore_signals()

def pytest_configure(config):
    config.pluginmanager.register(EndsChildrenInTime())
"""


def pytest_of(folder: Path, text: str, *options: str) -> str:
    """What pytest prints for such tests if its parent ignores SIGINT."""
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_it.py").write_text(text)
    plugins = ("-p", "no:cacheprovider", "-p", "pytest_timeout")  # others take seconds to import
    command = [sys.executable, "-m", "pytest", "-q", *plugins, "--rootdir", str(folder), *options]
    done = subprocess.run(
        [*command, str(folder)],
        cwd=folder,
        env=clean_environment() | {"PYTHONPATH": str(REPOSITORY), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
        capture_output=True,
        text=True,
        timeout=100,
    )
    return done.stdout


def test_a_test_started_in_the_background_can_interrupt_its_children(tmp_path: Path) -> None:
    assert "1 passed" in pytest_of(tmp_path, INTERRUPTED, "--timeout", "60")


def test_a_test_that_waits_for_a_child_fails_when_its_time_is_up(tmp_path: Path) -> None:
    assert "1 failed, 1 passed" in pytest_of(tmp_path, WAITING, "--timeout", "1")
