"""The memory of an idle `zmesh dev` with the examples deployed, part by part: `python -m bench memory`.

What processes share is divided among them (PSS, from /proc), so that the sum is what the machine has less.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

from rich.console import Console
from rich.table import Table

from sandbox.supervisor.usage import descendants_of
from tests.platform import Platform, zmesh_dev

SETTLE_SECONDS = 10.0
KINDS = {"postgres": "PostgreSQL", "node": "sandbox", "supervisor": "sandbox"}
PARTS = {" api": "API", " listener": "listener", "zmesh dev": "zmesh dev itself", " dev ": "zmesh dev itself"}


def part_of(pid: int) -> str:
    """Which part of the platform a process belongs to."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    kind = KINDS.get(Path(f"/proc/{pid}/exe").readlink().name)
    return kind or next((part for mark, part in PARTS.items() if mark in words), "sandbox")


def pss_mb(pid: int) -> float:
    """The proportional set size of a process."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def use_every_runtime(platform: Platform) -> None:
    """Once each, so that what boots with the first run is there."""
    platform.deploy("idle-python", "def handler(payload, zmesh):\n    return payload\n")
    platform.deploy("idle-javascript", "exports.handler = async (payload) => payload;\n", "javascript")
    for name in ("idle-python", "idle-javascript"):
        platform.result(name, {})


def main() -> None:
    """Start a platform of its own, wait until it is idle, and print the table."""
    memory: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="zmesh-bench-") as folder, zmesh_dev(Path(folder)) as platform:
        use_every_runtime(platform)
        time.sleep(SETTLE_SECONDS)
        for pid in descendants_of(os.getpid()):
            with suppress(OSError):  # it has ended
                memory[part_of(pid)].append(pss_mb(pid))
    table = Table(title="Idle zmesh dev")
    for column in ("part", "processes", "MB"):
        table.add_column(column, justify="left" if column == "part" else "right")
    for part, sizes in sorted(memory.items()):
        table.add_row(part, str(len(sizes)), f"{sum(sizes):.0f}")
    rest = sum(sum(sizes) for part, sizes in memory.items() if part != "PostgreSQL")
    table.add_row("all but PostgreSQL", "", f"{rest:.0f}", style="bold")
    Console().print(table)


if __name__ == "__main__":
    main()
