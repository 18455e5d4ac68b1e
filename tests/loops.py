"""Whether something held the event loops of processes under test, beyond what the machine itself stalled."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from support.loop_watch import LIMIT_MS

HELD = re.compile(r"blocked for (\d+) ms by .*")


# Until its standard input ends: how late it is woken up at most.
SLEEPER = """
import select, sys, time
longest = 0.0
while True:
    before = time.monotonic()
    if select.select([sys.stdin], [], [], 0.005)[0]:
        break
    longest = max(longest, time.monotonic() - before - 0.005)
print(longest * 1000)
"""


class MachineStalls:
    """How late a process that does nothing is woken up: so late may any process be."""

    def __init__(self) -> None:
        self.longest_ms = 0.0

    def __enter__(self) -> MachineStalls:
        self._sleeper = subprocess.Popen(
            [sys.executable, "-c", SLEEPER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *error: object) -> None:
        said, _ = self._sleeper.communicate()
        self.longest_ms = float(said)


@contextmanager
def nothing_holds_the_loops(*logs: Path) -> Iterator[None]:
    """Fails where a process that writes one of these logs says, within the block, that its loop was held."""
    sizes = {log: log.stat().st_size for log in logs}
    with MachineStalls() as stalls:
        yield
    said = "\n".join(log.read_bytes()[size:].decode("utf-8", "replace") for log, size in sizes.items())
    assert_none_above(LIMIT_MS + stalls.longest_ms, said.splitlines())


def assert_none_above(limit_ms: float, lines: Sequence[str]) -> None:
    holds = [found for line in lines if (found := HELD.search(line)) and float(found[1]) > limit_ms]
    assert not holds, [found[0] for found in holds]
