"""What the runs themselves recorded, against what the database says of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from uuid import UUID

from tests.databases import Row


@dataclass(frozen=True)
class Run:
    """One attempt, in seconds of the machine's monotonic clock."""

    invocation: UUID
    attempt: int
    started_at: float
    ended_at: float
    completed: bool


def read_runs(file: Path, stopped_at: Mapping[int, Sequence[float]]) -> list[Run]:
    """All runs; one under way when its process was killed or paused ended then: `stopped_at` by process id."""
    starts: dict[tuple[UUID, int], tuple[int, float]] = {}
    ends: dict[tuple[UUID, int], float] = {}
    for line in file.read_text().splitlines():
        event, invocation, attempt, pid, at = line.split()
        key = (UUID(invocation), int(attempt))
        if event == "start":
            assert key not in starts, f"{key} was started twice"
            starts[key] = (int(pid), float(at))
        else:
            ends[key] = float(at)
    return [
        Run(*key, at, min([ends.get(key, inf), *(stop for stop in stopped_at.get(pid, ()) if stop >= at)]), key in ends)
        for key, (pid, at) in starts.items()
    ]


def check_runs(runs: Iterable[Run], rows: Mapping[UUID, Row]) -> None:
    """None ran more often than its attempts, and what succeeded ran to its end."""
    counts = Counter(run.invocation for run in runs)
    for id, count in counts.items():
        assert count <= rows[id]["attempt"] <= rows[id]["max_attempts"], (count, rows[id])
    completed = {(run.invocation, run.attempt) for run in runs if run.completed}
    for id, row in rows.items():
        if row["status"] == "success":
            assert (id, row["attempt"]) in completed, row


def most_at_once(runs: Iterable[Run], group: Callable[[Run], Hashable | None]) -> dict[Hashable, int]:
    """How many runs of each group were under way together, at most; what has the group None does not count."""
    changes = sorted(
        (at, change, key)
        for run in runs
        if (key := group(run)) is not None
        for at, change in ((run.started_at, 1), (run.ended_at, -1))
    )
    now: Counter[Hashable] = Counter()
    most: dict[Hashable, int] = {}
    for _, change, key in changes:
        now[key] += change
        most[key] = max(most.get(key, 0), now[key])
    return most
