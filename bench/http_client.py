"""A bare HTTP/1.1 client: one keep-alive connection a caller, so that the client costs next to nothing."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any, Self
from urllib.parse import urlsplit


class Caller:
    """One connection; one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> None:
        self._reader = reader
        self._writer = writer
        self._host = host

    @classmethod
    async def connect(cls, url: str) -> Self:
        """Connect to an http:// address."""
        parts = urlsplit(url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        return cls(reader, writer, parts.netloc)

    async def post(self, path: str, headers: dict[str, str], payload: Any) -> tuple[int, bytes]:
        """Status and body of the answer, which must have a Content-Length."""
        body = json.dumps(payload).encode()
        lines = [f"POST {path} HTTP/1.1", f"Host: {self._host}", "Content-Type: application/json"]
        lines += [f"Content-Length: {len(body)}", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        self._writer.write("\r\n".join(lines).encode() + body)
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
        return int(head.split(b" ", 2)[1]), await self._reader.readexactly(length)

    def close(self) -> None:
        self._writer.close()


async def many_at_once(
    url: str, callers: int, calls: int, call: Callable[[Caller], Awaitable[float]]
) -> tuple[float, list[float]]:
    """Calls per second with many callers, and the seconds of each."""
    connections = [await Caller.connect(url) for _ in range(callers)]

    async def work(caller: Caller) -> list[float]:
        return [await call(caller) for _ in range(calls // callers)]

    started = time.perf_counter()
    seconds = [s for part in await asyncio.gather(*map(work, connections)) for s in part]
    elapsed = time.perf_counter() - started
    for connection in connections:
        connection.close()
    return len(seconds) / elapsed, seconds


async def at_rate(
    url: str, callers: int, rate: float, calls: int, call: Callable[[Caller], Awaitable[float]]
) -> list[float]:
    """Seconds of calls that come at a steady rate whether or not those before were answered: waiting for a free
    connection counts."""
    free: asyncio.Queue[Caller] = asyncio.Queue()
    for _ in range(callers):
        free.put_nowait(await Caller.connect(url))
    started = time.perf_counter()

    async def come(n: int) -> float:
        due = started + n / rate
        await asyncio.sleep(due - time.perf_counter())
        caller = await free.get()
        await call(caller)
        free.put_nowait(caller)
        return time.perf_counter() - due

    seconds = list(await asyncio.gather(*(come(n) for n in range(calls))))
    while not free.empty():
        free.get_nowait().close()
    return seconds


def percentile(seconds: list[float], share: float) -> float:
    """In milliseconds."""
    return sorted(seconds)[min(len(seconds) - 1, int(len(seconds) * share))] * 1000
