"""The processes of `zmesh dev`: started with only what each needs, replaced when they end, gone when we end."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from cli.errors import CliError
from cli.processes import dying_with_parent

PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "PYTHONPATH", "PYTHONUNBUFFERED", "SSL_CERT_FILE", "VIRTUAL_ENV")
START_SECONDS = 60
LONGEST_PAUSE = 10.0
LOG_BYTES_KEPT = 20_000_000
_START = "import sys; from cli.main import main; sys.exit(main())"


class Service:
    """One part of the platform as a child process; its log is a file."""

    def __init__(self, name: str, environment: Mapping[str, str], log: Path, *, announces: bool) -> None:
        """`announces`: it prints one line on standard output when it answers."""
        self.name = name
        self._environment = environment
        self._log = log
        self._announces = announces
        self._process: subprocess.Popen[str] | None = None
        self._failures = 0
        self._next_start = 0.0
        self.announcement = ""

    def start(self) -> None:
        """Start it and, where it announces, wait until it answers. Raises CliError."""
        kept = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        _shorten(self._log)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, self.name],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if self._announces else log,
                stderr=log,
                env={**kept, **self._environment},
                start_new_session=True,  # Ctrl+C is for us; we stop the others in order
                preexec_fn=dying_with_parent(signal.SIGKILL),
                text=True,
            )
        if self._announces:
            self.announcement = self._read_line(self._process)

    def _read_line(self, process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        ready, _, _ = select.select([process.stdout], [], [], START_SECONDS)
        line = process.stdout.readline().strip() if ready else ""
        if not line:
            process.kill()
            process.wait()
            raise CliError(
                f"The {self.name} did not start: {self.last_words()}", code="start_failed", hint=f"See {self._log}."
            )
        threading.Thread(target=process.stdout.read, daemon=True).start()
        return line

    def last_words(self) -> str:
        """The last lines of its log."""
        lines = self._log.read_text("utf-8", "replace").strip().splitlines()
        return " | ".join(lines[-3:]) or "it said nothing"

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process and self._process.poll() is None else None

    def keep_alive(self) -> str | None:
        """Start it again if it has ended, later and later; returns what a person should know."""
        if self.pid is not None:
            return None
        now = time.monotonic()
        if self._process is not None:
            status, self._process = self._process.returncode, None
            self._failures += 1
            self._next_start = now + min(0.25 * 2**self._failures, LONGEST_PAUSE)
            return f"the {self.name} ended with status {status}; starting it again ({self.last_words()})"
        if now >= self._next_start:
            try:
                self.start()
            except CliError as error:
                return error.message
        return None

    def ask_to_stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def stop(self, seconds: float) -> None:
        """Wait for its end, which was asked for; then insist."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.1, seconds))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _shorten(log: Path) -> None:
    """Keep one old log beside the new one."""
    if log.exists() and log.stat().st_size > LOG_BYTES_KEPT:
        log.replace(log.with_suffix(".log.1"))
