"""The time limit of each test, and the end of processes in which a test hangs and its runner cannot end it."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GRACE_SECONDS = 5.0  # for runners to end a test themselves


@dataclass(frozen=True, slots=True)
class Limit:
    """Seconds that a test may take, 0 for no limit; `chosen`: whether an option of the command says so."""

    seconds: float
    chosen: bool

    def environment(self, progress: Path) -> dict[str, str]:
        """For the plugins in the test runners, which write to `progress` what they are about to do."""
        return {"ZMESH_TEST_TIMEOUT": f"{self.seconds:g}", "ZMESH_TEST_PROGRESS": str(progress)}


@dataclass(frozen=True, slots=True)
class Ended:
    """A test whose process had to be ended."""

    name: str
    file: str
    seconds: float

    @property
    def message(self) -> str:
        return (
            f"did not end within {self.seconds:g} s, nor when it was told to, so its process was killed: "
            "raise the limit with zmesh test --timeout SECONDS"
        )


class Watch:
    """Kills the process of a test that goes on after its limit, such as in a loop that lets nothing else run."""

    def __init__(self, progress: Path) -> None:
        self._progress = progress
        self._text = ""
        self._since = time.monotonic()
        self.ended: list[Ended] = []

    def look(self) -> None:
        """Kill the process of the current test if it is over its limit; called at short intervals."""
        text = ""
        with suppress(OSError, UnicodeDecodeError):
            text = self._progress.read_text()
        if text != self._text:
            self._text, self._since = text, time.monotonic()
        with suppress(ValueError):
            told: dict[str, Any] = json.loads(text)
            if told["seconds"] > 0 and time.monotonic() - self._since > told["seconds"] + GRACE_SECONDS:
                self._kill(told)

    def _kill(self, told: dict[str, Any]) -> None:
        from sandbox.supervisor.usage import descendants_of

        self._progress.unlink(missing_ok=True)
        pids = [int(told["pid"]), *descendants_of(int(told["pid"]))]
        with suppress(ProcessLookupError):
            os.kill(pids[0], 0)
            self.ended.append(Ended(str(told["name"]), str(told["file"]), float(told["seconds"])))
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
