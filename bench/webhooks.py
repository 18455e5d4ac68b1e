"""How fast the API accepts a webhook's message: verified, durably in the queue, 202; beside a bare INSERT.

python -m bench.webhooks [--messages N] [--callers N]

No listener runs, so that only accepting is measured: what the messages start would take the same two cores. The CPU
time of the API stays the same on a machine that is busy with other things, where the rest does not.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hmac
import json
import os
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
from rich.console import Console
from rich.table import Table

from bench.http_client import Caller, many_at_once, percentile
from cli.platform.postgres import EmbeddedPostgres
from support.sealing import Sealer
from tests.databases import Database
from tests.platform import Parts, Platform

PAYLOAD = {"type": "invoice.paid", "data": {"id": 17, "lines": [{"sku": "A-1", "n": 2}] * 5}}
BODY = json.dumps(PAYLOAD).encode()
INSERT = "insert into zmesh.invocations (function, payload) values ('greet', %s)"
ROUNDS = 5  # the sides take turns, so that a slow moment of the machine hits both


def signed(key: bytes) -> dict[str, str]:
    """The headers of a message that was not sent before."""
    id, at = uuid4().hex, str(int(time.time()))
    digest = hmac.digest(key, f"{id}.{at}.".encode() + BODY, "sha256")
    signature = f"v1,{base64.b64encode(digest).decode()}"
    return {"webhook-id": id, "webhook-timestamp": at, "webhook-signature": signature}


async def send(caller: Caller, path: str, key: bytes) -> float:
    """Seconds until the message is accepted."""
    headers = signed(key)
    started = time.perf_counter()
    status, body = await caller.post(path, headers, PAYLOAD)
    if status != 202:
        raise RuntimeError(f"{status}: {body[:300]!r}")
    return time.perf_counter() - started


def cpu_seconds(pid: int) -> float:
    """What a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def insert(connection: psycopg.Connection[Any]) -> float:
    """Seconds of an INSERT by SQL, committed."""
    started = time.perf_counter()
    connection.execute(INSERT, (BODY.decode(),))
    return time.perf_counter() - started


async def one_in_flight(platform: Platform, path: str, key: bytes, messages: int) -> dict[str, list[float]]:
    """Seconds of each message and of each INSERT, in turns."""
    seen: dict[str, list[float]] = {"bare INSERT": [], "webhook": []}
    caller = await Caller.connect(platform.url)
    with psycopg.connect(platform.database_url, autocommit=True) as connection:
        for round_number in range(ROUNDS + 1):  # the first warms up and does not count
            inserts = [insert(connection) for _ in range(messages // ROUNDS)]
            sends = [await send(caller, path, key) for _ in range(messages // ROUNDS)]
            if round_number:
                seen["bare INSERT"] += inserts
                seen["webhook"] += sends
    caller.close()
    return seen


async def measure(parts: Parts, messages: int, callers: int, console: Console) -> None:
    platform = parts.platform
    webhook = platform.request("POST", "/webhooks", json={"function_id": "greet", "preset": "standard"}).json()
    path, key = webhook["path"], base64.b64decode(webhook["secret"].removeprefix("whsec_"))
    one = await one_in_flight(platform, path, key, messages)
    floor = statistics.median(one["bare INSERT"])
    table = Table(title=f"Webhooks accepted, {len(BODY)} bytes each, signed as Standard Webhooks asks")
    for column in ("side", "callers", "per second", "p50 ms", "p99 ms", "p50 against the INSERT", "API's CPU ms each"):
        table.add_column(column, justify="left" if column == "side" else "right")
    for side, seconds in one.items():
        against = f"{statistics.median(seconds) / floor:.2f} ×"
        rate, p50, p99 = len(seconds) / sum(seconds), percentile(seconds, 0.5), percentile(seconds, 0.99)
        table.add_row(side, "1", f"{rate:.0f}", f"{p50:.2f}", f"{p99:.2f}", against, "")
    message = partial(send, path=path, key=key)
    await many_at_once(platform.url, callers, callers * 10, message)
    for _ in range(3):
        before = cpu_seconds(parts.api.pid)
        rate, seconds = await many_at_once(platform.url, callers, max(messages * 5, callers * 20), message)
        cpu = (cpu_seconds(parts.api.pid) - before) / len(seconds) * 1000
        p50, p99 = percentile(seconds, 0.5), percentile(seconds, 0.99)
        table.add_row("webhook", str(callers), f"{rate:.0f}", f"{p50:.1f}", f"{p99:.1f}", "", f"{cpu:.2f}")
    console.print(table)


def main() -> None:
    """Start a PostgreSQL and an API of its own and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=1000)
    parser.add_argument("--callers", type=int, default=64)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="zmesh-bench-") as folder:
        postgres = EmbeddedPostgres(Path(folder) / "postgres")
        postgres.start()
        try:
            database = Database.create(postgres.admin_url, "postgres", Sealer.new_key(), Sealer.new_key())
            with Parts(database, Path(folder)) as parts:
                parts.platform.deploy("greet", "def handler(payload, zmesh):\n    return payload\n")
                asyncio.run(measure(parts, options.messages, options.callers, Console(width=110)))
        finally:
            postgres.stop()


if __name__ == "__main__":
    main()
