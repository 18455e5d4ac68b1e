"""An awaited call behind 20,000 queued ones of the same project, against the same call while nothing else runs.

python -m bench behind_backlog [--backlog N] [--rounds N]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
from pathlib import Path

import psycopg
from rich.console import Console
from rich.table import Table

from bench.http_client import Caller, percentile
from bench.http_noop import FUNCTIONS, call
from tests.platform import Platform, zmesh_dev

WARM_UP = 20
ENQUEUE = "insert into zmesh.invocations (function) select %s from generate_series(1, %s)"
QUEUED = "select count(*) from zmesh.invocations where function = %s and finished_at is null"


async def awaited(platform: Platform, slug: str, rounds: int) -> list[float]:
    """Seconds of calls one after the other."""
    caller = await Caller.connect(platform.url)
    seen = [await call(caller, platform, slug) for _ in range(WARM_UP + rounds)]
    caller.close()
    return seen[WARM_UP:]


def value(platform: Platform, query: str, *values: object) -> int:
    with psycopg.connect(platform.database_url, autocommit=True) as connection:
        cursor = connection.execute(query.encode(), values)
        return cursor.fetchall()[0][0] if cursor.description else cursor.rowcount


async def measure(platform: Platform, language: str, backlog: int, rounds: int) -> list[str]:
    slug = f"noop-{language}"
    platform.deploy(slug, FUNCTIONS[language], language)
    idle = await awaited(platform, slug, rounds)
    value(platform, ENQUEUE, slug, backlog)
    loop = asyncio.get_running_loop()
    before, started = value(platform, QUEUED, slug), loop.time()
    behind = await awaited(platform, slug, rounds)
    left = value(platform, QUEUED, slug)
    drained = (before - left) / (loop.time() - started)
    if left == 0:
        raise RuntimeError("the backlog ended before the calls did: pass a larger --backlog")
    ratio = statistics.median(behind) / statistics.median(idle)
    figures = [f"{percentile(side, share):.1f}" for side in (idle, behind) for share in (0.5, 0.99)]
    return [language, *figures, f"{ratio:.1f} ×", f"{drained:.0f}"]


def main() -> None:
    """Measure each language on a platform of its own, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backlog", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=200)
    options = parser.parse_args()
    table = Table(title=f"An awaited no-op, {options.rounds} calls, beside {options.backlog} queued ones")
    for column in ("language", "idle p50 ms", "p99", "behind the backlog p50 ms", "p99", "against idle", "drained/s"):
        table.add_column(column, justify="left" if column == "language" else "right")
    for language in FUNCTIONS:
        with (
            tempfile.TemporaryDirectory(prefix="zmesh-bench-") as folder,
            zmesh_dev(Path(folder), "--no-examples") as platform,
        ):
            table.add_row(*asyncio.run(measure(platform, language, options.backlog, options.rounds)))
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
