"""The processes of `zmesh dev`: started with a minimal environment, restarted if they exit, and never orphaned."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path

from cli.output import progress, style
from support.children import dying_with_parent

INHERITED_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "PYTHONPATH", "SSL_CERT_FILE", "SSL_CERT_DIR")
SHORTEST_PAUSE = 0.5
LONGEST_PAUSE = 10.0
HEALTHY_SECONDS = 30.0
LOG_BYTES_KEPT = 10_000_000
MODULES = {"api": "cli.agents.serving", "listener": "listener.main"}  # where each has its main


class Service:
    """One part of the platform as a child process in a group of its own; what it prints goes to a log file."""

    def __init__(self, name: str, environment: Mapping[str, str], log: Path, *, verbose: bool) -> None:
        """`verbose`: print on the terminal as well."""
        self.name = name
        self.environment = dict(environment)
        self.log = log
        self._verbose = verbose
        self._process: subprocess.Popen[bytes] | None = None
        self._reader = threading.Thread()
        self._last_lines: deque[str] = deque(maxlen=8)
        self._started_at = 0.0
        self._next_start = 0.0
        self._pause = SHORTEST_PAUSE
        self.announcement = ""
        self.admin_url = ""

    @property
    def pid(self) -> int | None:
        """The process, while it runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Start the process. Only the main thread may: the process ends with the thread that started it."""
        kept = {name: os.environ[name] for name in INHERITED_VARIABLES if name in os.environ}
        module = MODULES[self.name]
        self._started_at = time.monotonic()
        self._last_lines.clear()
        self._process = subprocess.Popen(
            # Not by the command line, whose libraries would stay in memory.
            [sys.executable, "-P", "-c", f"import sys; from {module} import main; sys.exit(main())", self.name],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**kept, **self.environment},
            start_new_session=True,  # Ctrl+C is for us: we stop the others in order
            preexec_fn=dying_with_parent(signal.SIGKILL),
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        prefix = style(f"{self.name:>8} | ", fg="cyan")
        if self.log.exists() and self.log.stat().st_size > LOG_BYTES_KEPT:
            self.log.replace(self.log.with_suffix(".log.1"))
        with self.log.open("ab", buffering=0) as log:
            for raw in process.stdout:
                line = raw.decode(errors="replace").rstrip("\n")
                if line.startswith("listening "):
                    self.announcement = line
                elif line.startswith("admin http"):
                    self.admin_url = line.removeprefix("admin ")
                self._last_lines.append(line)
                log.write(raw)
                if self._verbose:
                    progress(f"{prefix}{line}")

    def last_output(self) -> str:
        """The last lines that the process printed."""
        self._reader.join(1)
        return "\n".join(f"  {line}" for line in self._last_lines) or "  (nothing)"

    def keep_alive(self) -> str:
        """Start the process again if it has ended, each time later; returns what a person should know, or nothing."""
        now = time.monotonic()
        if self.pid is not None:
            if now - self._started_at > HEALTHY_SECONDS:
                self._pause = SHORTEST_PAUSE
            return ""
        if self._process is not None:
            status, self._process = self._process.returncode, None
            self._next_start = now + self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
            return f"The {self.name} exited with status {status}; restarting it. Its last output:\n{self.last_output()}"
        if now >= self._next_start:
            self.start()
        return ""

    def request_stop(self) -> None:
        """Send SIGTERM."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def stop(self, seconds: float) -> None:
        """Wait so long for the end that was asked for; then insist."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, seconds))
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._reader.join(1)
