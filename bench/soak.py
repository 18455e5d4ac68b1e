"""Thousands of runs, good and hostile mixed: what is left of them, and what the good ones notice of the others.

python -m bench soak [--runs N]

Every thousand runs it waits until the sandbox is idle and counts processes, descriptors, users, workspaces, mounts, and
the memory of this process and of the templates. Ends with status 1 when something has leaked, a good run went wrong, or
something held the event loop.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from sandbox import Language, Limits, RunRequest, Sandbox
from sandbox.confinement.uids import RANGE
from sandbox.supervisor.usage import descendants_of
from support.loop_watch import LIMIT_MS, LoopWatch
from tests.attacks.catalogue import handler
from tests.loops import MachineStalls
from tests.sandbox.hosts import name_of
from tests.sandbox.test_attacks import CHANNEL, DAEMONS, ENDINGS, FLOODS, GARBAGE, TREES
from tests.sandbox.test_limits import BUSY, IGNORING, MEMORY

SLOTS = 8
HOSTILE_AT_A_TIME = 4
QUIET_SECONDS = 10.0
ROUND = 1000
IDLE_SECONDS = 60.0
MEMORY_SLACK_MB = 24  # growth after the first round that counts as a leak
OFTEN, RARELY = 20, 1
GOOD: dict[Language, str] = {
    "python": "def handler(payload, zmesh):\n    open('mine', 'w').write('x')\n    return payload['n'] * 2",
    "javascript": "exports.handler = (payload) => { require('fs').writeFileSync('mine', 'x'); return payload.n * 2; };",
}
FORK_BOMB = "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass"
GREEDY = (
    "kept = [open('/dev/null') for _ in range(1000)]",
    "open('big', 'wb').write(bytes(11 << 20))",
    "import os, time\nfor _ in range(60):\n    if os.fork() == 0:\n        time.sleep(20)",
    "import os\nos.kill(os.getppid() or 1, 9)",
)


@dataclass
class Left:
    """What there is of everything while nothing runs."""

    runs: int
    processes: int
    descriptors: int
    tasks: int
    strangers: int  # processes of users for runs that belong to no run
    workspaces: int
    mounts: int
    own_mb: float
    templates_mb: float


@dataclass
class Soak:
    """The sandbox under fire, and what came of it."""

    sandbox: Sandbox
    run_dir: Path
    random: random.Random
    hostile: list[tuple[RunRequest, int]]
    runs: int = 0
    wrong: list[str] = field(default_factory=list)
    endings: Counter[str] = field(default_factory=Counter)
    quiet_ms: dict[Language, list[float]] = field(default_factory=lambda: {language: [] for language in GOOD})
    noisy_ms: dict[Language, list[float]] = field(default_factory=lambda: {language: [] for language in GOOD})

    async def good(self, language: Language, times: list[float]) -> None:
        """A run whose result must be right."""
        n = self.random.randrange(1_000_000)
        started = time.perf_counter()
        outcome = await self.sandbox.run(_request(language, GOOD[language], Limits(), n))
        times.append((time.perf_counter() - started) * 1000)
        self.runs += 1
        if outcome.result_json != str(n * 2):
            self.wrong.append(f"{language}: {outcome}"[:500])

    async def bad(self) -> None:
        """A hostile run; one in ten is cancelled while it is at it."""
        requests, weights = zip(*self.hostile, strict=True)
        [chosen] = self.random.choices(requests, weights)
        cancel = asyncio.Event()
        if self.random.random() < 0.1:
            asyncio.get_running_loop().call_later(self.random.random() * 0.2, cancel.set)
        outcome = await self.sandbox.run(replace(chosen, printed=[]), cancel)
        self.runs += 1
        if outcome.error and outcome.error.type == "sandbox_failed":
            self.wrong.append(f"{outcome.error.message}: {chosen.code[-200:]}")
        self.endings[outcome.error.type if outcome.error else outcome.status] += 1

    async def quiet(self, seconds: float) -> None:
        """Good runs alone."""
        until = time.monotonic() + seconds

        async def repeat(language: Language) -> None:
            while time.monotonic() < until:
                await self.good(language, self.quiet_ms[language])

        await asyncio.gather(*(repeat(language) for language in GOOD))

    async def boot_all(self) -> None:
        """A run of each language and memory class: a template boots with the first, and stays."""
        classes = {(request.language, request.limits.memory_mb): request for request, _ in self.hostile}
        for request in classes.values():
            await self.sandbox.run(replace(request, printed=[]))

    async def round(self, runs: int) -> None:
        """Good and hostile runs side by side."""
        until = self.runs + runs

        async def repeat_good(language: Language) -> None:
            while self.runs < until:
                await self.good(language, self.noisy_ms[language])

        async def repeat_bad() -> None:
            while self.runs < until:
                await self.bad()

        await asyncio.gather(
            *(repeat_good(language) for language in GOOD), *(repeat_bad() for _ in range(HOSTILE_AT_A_TIME))
        )

    async def look(self) -> Left:
        """Wait until nothing runs and the parked processes are all there is, then count."""
        deadline = time.monotonic() + IDLE_SECONDS
        while not self._is_idle() and time.monotonic() < deadline:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.1)
        sandbox = self.sandbox
        assert sandbox._template is not None
        processes = descendants_of(os.getpid())
        templates = [pid for pid in [sandbox._template.pid, *descendants_of(sandbox._template.pid)] if not _is_run(pid)]
        return Left(
            runs=self.runs,
            processes=len(processes) - 2 * len(sandbox._slot_of),
            descriptors=len(os.listdir("/proc/self/fd")) - 4 * len(sandbox._slot_of),
            tasks=len(asyncio.all_tasks()),
            strangers=self._strangers(set(processes)),
            workspaces=len(list(self.run_dir.glob("run-*"))),
            mounts=_mounts(os.getpid()) + _mounts(sandbox._template.pid),
            own_mb=_memory_mb(os.getpid()),
            templates_mb=sum(_memory_mb(pid) for pid in templates),
        )

    def _is_idle(self) -> bool:
        sandbox = self.sandbox
        parking = sandbox._parking
        return not parking.filling and len(sandbox._slot_of) == parking.alive()

    def _strangers(self, known: set[int]) -> int:
        users = self.sandbox._uids
        if users is None:
            return 0
        count = 0
        for pid in {int(name) for name in os.listdir("/proc") if name.isdigit()} - known:
            with suppress(OSError):
                count += users.base <= os.stat(f"/proc/{pid}").st_uid < users.base + RANGE
        return count


def _request(language: str, code: str, limits: Limits, n: int = 0) -> RunRequest:
    return RunRequest(language, code, "handler", "soak", f'{{"n": {n}}}', limits=limits)  # type: ignore[arg-type]


def hostile_runs() -> list[tuple[RunRequest, int]]:
    """Hostile runs, and how often each comes beside the others: what takes the machine's time comes rarely."""
    short, longer = Limits(timeout_ms=250), Limits(timeout_ms=2_000)
    often = [_request("python", CHANNEL + handler("python", f"{body}\nos._exit(0)"), short) for _, body, _ in GARBAGE]
    often += [_request(language, handler(language, body), short) for language, body, _ in ENDINGS]
    often += [_request(name, handler(name, bodies[name]), short) for bodies in (BUSY, IGNORING) for name in GOOD]
    often += [_request("python", handler("python", f"import os, time\n{body}"), short) for body in DAEMONS.values()]
    often += [_request("python", handler("python", body), longer) for body in GREEDY]
    rarely = [_request("python", CHANNEL + handler("python", body), short) for body in FLOODS.values()]
    rarely += [_request("python", handler("python", f"import os\n{body}"), longer) for body in TREES.values()]
    rarely += [_request(name, handler(name, body), Limits(timeout_ms=3_000, memory_mb=128)) for name, _, body in MEMORY]
    rarely += [_request("python", handler("python", FORK_BOMB), short)]
    return [(request, OFTEN) for request in often] + [(request, RARELY) for request in rarely]


def _is_run(pid: int) -> bool:
    with suppress(OSError), open(f"/proc/{pid}/stat") as file:
        parent = int(file.read().rpartition(") ")[2].split()[1])
        return "zmesh-run" in (name_of(pid), name_of(parent))
    return True


def _mounts(pid: int) -> int:
    with open(f"/proc/{pid}/mountinfo") as file:
        return len(file.readlines())


def _memory_mb(pid: int) -> float:
    """What a process holds for itself."""
    with suppress(OSError), open(f"/proc/{pid}/smaps_rollup") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith("Private_Dirty:")) / 1024
    return 0.0


def leaks(first: Left, last: Left) -> list[str]:
    """What there is more of than after the first round."""
    before, after = asdict(first), asdict(last)
    allowed = {"own_mb": MEMORY_SLACK_MB, "templates_mb": MEMORY_SLACK_MB}
    return [
        f"{name}: {before[name]:g} → {after[name]:g}"
        for name in before
        if name != "runs" and after[name] > before[name] + allowed.get(name, 0)
    ]


async def soak(runs: int, seed: int, console: Console) -> int:
    """All of it; the exit status."""
    watch = LoopWatch(lambda ms, stacks: console.print(f"event loop blocked for {ms:.0f} ms by {stacks}", markup=False))
    stalls = MachineStalls()
    with tempfile.TemporaryDirectory(prefix="zmesh-soak-") as folder, stalls:
        sandbox = Sandbox(slots=SLOTS, run_dir=Path(folder) / "runs")
        await sandbox.start()
        report = sandbox.report()
        console.print(f"sandbox: {report.level} ({report.mode}); seed {seed}", *report.gaps, sep="; ")
        watch.start()
        it = Soak(sandbox, Path(folder) / "runs", random.Random(seed), hostile_runs())
        await it.quiet(1)
        it.quiet_ms = {language: [] for language in GOOD}
        await it.quiet(QUIET_SECONDS)
        await it.boot_all()
        looks: list[Left] = []
        while it.runs < runs:
            await it.round(min(ROUND, runs - it.runs))
            looks.append(await it.look())
            console.print("  ".join(f"{name} {value:g}" for name, value in asdict(looks[-1]).items()))
        watch.stop()
        await sandbox.close()
    found = leaks(looks[0], looks[-1]) + it.wrong
    console.print(
        f"event loop blocked for {watch.longest_ms:.0f} ms at most; the machine stalled {stalls.longest_ms:.0f} ms"
    )
    if watch.longest_ms > LIMIT_MS + stalls.longest_ms:
        found.append(f"the event loop was blocked for {watch.longest_ms:.0f} ms")
    console.print(f"ends of hostile runs: {dict(it.endings.most_common())}")
    console.print(_table_of(it))
    console.print(*(found or ["nothing leaked, and every good run was right"]), sep="\n")
    return 1 if found else 0


def _table_of(it: Soak) -> Table:
    table = Table()
    for title in ("good runs", "alone p50 ms", "p99 ms", "beside hostile ones p50 ms", "p99 ms"):
        table.add_column(title, justify="right" if "ms" in title else "left")
    for language in GOOD:
        figures = [
            figure
            for times in (it.quiet_ms[language], it.noisy_ms[language])
            for figure in (statistics.median(times), sorted(times)[int(len(times) * 0.99)])
        ]
        table.add_row(f"{language}, {len(it.noisy_ms[language])}", *(f"{figure:.1f}" for figure in figures))
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    sys.exit(asyncio.run(soak(options.runs, options.seed, Console(width=160))))


if __name__ == "__main__":
    main()
