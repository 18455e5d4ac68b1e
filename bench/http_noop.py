"""A no-op function over HTTP, in both languages, beside the bare PostgreSQL round trip of the same minute, and beside
the same function with one query to its database.

python -m bench.http_noop [--rounds N] [--callers N]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.floor import Floor
from bench.http_client import Caller, at_rate, many_at_once, percentile
from tests.platform import Platform, zmesh_dev

BLOCKS = 5  # the sides take turns, so that a slow moment of the machine hits all of them
FUNCTIONS = {
    "python": "def handler(payload, zmesh):\n    return payload\n",
    "javascript": "exports.handler = async (payload) => payload;\n",
}
WITH_QUERY = {
    "python": "def handler(payload, zmesh):\n    return zmesh.db.query_one('select 1 as one')\n",
    "javascript": "exports.handler = async (payload, zmesh) => await zmesh.db.queryOne('select 1 as one');\n",
}


async def sequential(platform: Platform, rounds: int) -> dict[str, list[float]]:
    """One in flight: seconds of each call, by side."""
    caller = await Caller.connect(platform.url)
    async with Floor(platform.database_url) as floor:
        sides: dict[str, Callable[[], Awaitable[float]]] = {"floor": floor.round_trip}
        for slug in (*(f"noop-{name}" for name in FUNCTIONS), *(f"query-{name}" for name in WITH_QUERY)):
            sides[slug] = lambda slug=slug: call(caller, platform, slug)  # type: ignore[misc]
        seen: dict[str, list[float]] = {side: [] for side in sides}
        for block in range(BLOCKS + 1):  # the first warms up and does not count
            for side, act in sides.items():
                timings = [await act() for _ in range(rounds // BLOCKS)]
                if block:
                    seen[side] += timings
    caller.close()
    return seen


async def call(caller: Caller, platform: Platform, slug: str) -> float:
    """Seconds of one call that must succeed."""
    started = time.perf_counter()
    status, body = await caller.post(f"/api/functions/{slug}", {"x-api-key": platform.api_key}, {"n": 1})
    if status != 200:
        raise RuntimeError(f"{status}: {body[:300]!r}")
    return time.perf_counter() - started


async def measure(platform: Platform, rounds: int, callers: int, console: Console) -> None:
    one = await sequential(platform, rounds)
    floor = statistics.median(one["floor"]) * 1000
    table = Table(title=f"No-op over HTTP, one in flight, {rounds} calls each, in turns")
    for column in ("side", "p50 ms", "p99 ms", "p50 against the floor", "query, ms more"):
        table.add_column(column, justify="left" if column == "side" else "right")
    for side, seconds in one.items():
        p50 = percentile(seconds, 0.5)
        noop = one.get(side.replace("query", "noop"), [])
        more = f"{p50 - percentile(noop, 0.5):.2f}" if side.startswith("query") else ""
        table.add_row(side, f"{p50:.2f}", f"{percentile(seconds, 0.99):.2f}", f"{p50 / floor:.2f} ×", more)
    console.print(table)
    table = Table(title=f"No-op over HTTP, {callers} callers")
    for column in ("language", "per second", "p50 ms", "p99 ms", "at half of it: p50 ms", "p99 ms"):
        table.add_column(column, justify="left" if column == "language" else "right")
    for language in FUNCTIONS:
        noop = partial(call, platform=platform, slug=f"noop-{language}")
        await many_at_once(platform.url, callers, callers * 2, noop)
        rate, seconds = await many_at_once(platform.url, callers, max(rounds, callers * 5), noop)
        half = await at_rate(platform.url, callers, rate / 2, max(rounds, callers * 5), noop)
        figures = [f"{percentile(times, share):.1f}" for times in (seconds, half) for share in (0.5, 0.99)]
        table.add_row(language, f"{rate:.0f}", *figures)
    console.print(table)


def main() -> None:
    """Start a platform of its own and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--callers", type=int, default=64)
    options = parser.parse_args()
    console = Console(width=100)
    with (
        tempfile.TemporaryDirectory(prefix="zmesh-bench-") as folder,
        zmesh_dev(Path(folder), "--no-examples") as platform,
    ):
        for kind, functions in (("noop", FUNCTIONS), ("query", WITH_QUERY)):
            for language, code in functions.items():
                platform.deploy(f"{kind}-{language}", code, language)
        asyncio.run(measure(platform, options.rounds, options.callers, console))


if __name__ == "__main__":
    main()
