"""The admin port of a process: /health, /ready and /metrics, separate from everything that clients can reach.

Runs may share the network of the host or container, so they can connect here whatever address it is bound to. Therefore
/metrics requires a token, the other pages reveal nothing that matters, and connections are few and short-lived.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Protocol
from urllib.parse import parse_qs

import h11
from prometheus_client.exposition import choose_encoder

from observing.events import CheckFailed
from observing.metrics import Metrics
from observing.stream import emit

MOST_CONNECTIONS = 32
MOST_WAITING = 1024  # that the kernel has accepted, and we have not yet
CONNECTION_SECONDS = 5.0
LARGEST_HEAD = 8192
FRESH_SECONDS = 1.0
JSON = "application/json"
Examine = Callable[[], Awaitable[Mapping[str, str | None]]]


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()


class Readiness:
    """The checks of a process, run at most once a second however often they are requested."""

    def __init__(self, examine: Examine, advisory: frozenset[str] = frozenset()) -> None:
        """`examine` returns the name of each check with what is wrong, or None. Everybody who can connect sees that: no
        addresses, no names. Failing `advisory` checks do not make a process unready."""
        self._examine = examine
        self._advisory = advisory
        self._failures: Mapping[str, str | None] = {}
        self._examined_at = float("-inf")
        self._lock = asyncio.Lock()
        self._stopping = False

    def stop(self) -> None:
        """Report not ready from now on: the process is about to end."""
        self._stopping = True

    async def answer(self) -> Answer:
        """The answer of /ready: 200, or 503 if a check fails that is not advisory."""
        async with self._lock:
            if time.monotonic() - self._examined_at > FRESH_SECONDS:
                self._note(await self._examine())
        failed = any(reason and name not in self._advisory for name, reason in self._failures.items())
        checks = {
            name: {"status": "failed", "reason": reason} if reason else {"status": "ok"}
            for name, reason in self._failures.items()
        }
        status = "stopping" if self._stopping else "not_ready" if failed else "ready"
        return _json(200 if status == "ready" else 503, {"status": status, "checks": checks})

    def _note(self, failures: Mapping[str, str | None]) -> None:
        for name, reason in failures.items():
            if reason is not None and reason != self._failures.get(name):
                emit(CheckFailed(name, reason))
        self._failures = failures
        self._examined_at = time.monotonic()


class AdminSettings(Protocol):
    """Where the admin port of a process listens, if at all. Without a token there are no metrics."""

    @property
    def admin_host(self) -> str: ...

    @property
    def admin_port(self) -> int | None: ...

    @property
    def metrics_token(self) -> str | None: ...


class AdminPortError(Exception):
    """The admin port cannot be opened; the message says why."""


async def nothing() -> None:
    """Reads nothing before a scrape."""


class AdminServer:
    """Serves the three pages, one request per connection."""

    def __init__(
        self,
        settings: AdminSettings,
        metrics: Metrics,
        readiness: Readiness,
        before_scrape: Callable[[], Awaitable[None]] = nothing,
    ) -> None:
        """`before_scrape` reads figures that no event provides."""
        self._settings = settings
        self._metrics = metrics
        self._readiness = readiness
        self._before_scrape = before_scrape
        self._encoding = ThreadPoolExecutor(1, thread_name_prefix="metrics")  # clients can make them long
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.Task[None], str] = {}  # with where each comes from, oldest first

    async def start(self) -> None:
        """Listen, if a port is set. Raises AdminPortError if that fails."""
        host, port = self._settings.admin_host, self._settings.admin_port
        if port is None:
            return
        try:
            self._server = await asyncio.start_server(
                self._serve, host, port, limit=LARGEST_HEAD, backlog=MOST_CONNECTIONS
            )
            for listening in self._server.sockets:
                # asyncio accepts `backlog` at a time. In a longer queue, a flood makes the kernel drop no probe.
                with socket.socket(fileno=os.dup(listening.fileno())) as own:
                    own.listen(MOST_WAITING)
        except OSError as error:
            raise AdminPortError(
                f"Cannot listen on ZMESH_ADMIN_HOST {host}, ZMESH_ADMIN_PORT {port}: {error.strerror or error}. "
                "Each process needs a port of its own."
            ) from error
        host, port = self._server.sockets[0].getsockname()[:2]
        print(f"admin http://{f'[{host}]' if ':' in host else host}:{port}", flush=True)

    def close(self) -> None:
        """Stop listening and end every connection."""
        self._encoding.shutdown(wait=False, cancel_futures=True)
        if self._server is not None:
            self._server.close()
        for task in self._open:
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._open) >= MOST_CONNECTIONS:
            self._oldest_of_most().cancel()  # a genuine client has its answer long before
        self._open[task] = _origin(writer)
        try:
            async with asyncio.timeout(CONNECTION_SECONDS):
                await self._exchange(reader, writer)
        except (TimeoutError, OSError, h11.RemoteProtocolError):
            pass
        except asyncio.CancelledError:  # it gave way to another, or the port closes: no error, which asyncio would log
            pass
        finally:
            self._open.pop(task, None)
            writer.close()

    def _oldest_of_most(self) -> asyncio.Task[None]:
        """The connection that gives way: runs come from this host, and cannot displace probes from elsewhere."""
        [(most, _)] = Counter(self._open.values()).most_common(1)
        return next(task for task, origin in self._open.items() if origin == most)

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=LARGEST_HEAD)
        while (event := connection.next_event()) is h11.NEED_DATA:
            connection.receive_data(await reader.read(LARGEST_HEAD))
        if not isinstance(event, h11.Request):
            return
        answer = await self._answer(event)
        headers = [
            ("content-type", answer.content_type),
            ("content-length", str(len(answer.body))),
            ("cache-control", "no-store"),
            ("connection", "close"),
            *answer.headers,
        ]
        head = connection.send(h11.Response(status_code=answer.status, headers=headers))
        body = b"" if event.method == b"HEAD" else answer.body
        writer.write((head or b"") + body)
        await writer.drain()

    async def _answer(self, request: h11.Request) -> Answer:
        if request.method not in (b"GET", b"HEAD"):
            return _problem(405, "This port takes GET only.", ("allow", "GET, HEAD"))
        headers = {name: value.decode("latin-1") for name, value in request.headers}
        path, _, query = request.target.partition(b"?")
        match path:
            case b"/health":
                return _json(200, {"status": "ok"})
            case b"/ready":
                return await self._readiness.answer()
            case b"/metrics":
                return await self._exposition(headers, query.decode("latin-1"))
            case _:
                return _problem(404, "This port has /health, /ready and /metrics.")

    async def _exposition(self, headers: dict[bytes, str], query: str) -> Answer:
        token = self._settings.metrics_token
        if token is None:
            return _problem(403, "Metrics are off. Set ZMESH_METRICS_TOKEN, and send it as a bearer token.")
        if not hmac.compare_digest(_token(headers, query).encode(), token.encode()):
            return _problem(401, "Send ZMESH_METRICS_TOKEN as a bearer token.", ("www-authenticate", "Bearer"))
        await self._before_scrape()
        try:
            encode, content_type = choose_encoder(headers.get(b"accept", ""))
        except (TypeError, ValueError):  # a version that is none
            encode, content_type = choose_encoder("")
        encoding = asyncio.get_running_loop().run_in_executor(self._encoding, encode, self._metrics.registry)
        return Answer(200, await encoding, content_type)


def _origin(writer: asyncio.StreamWriter) -> str:
    """The address of a client; all addresses of this host that a run could connect from count as one."""
    client, own = (writer.get_extra_info(name) for name in ("peername", "sockname"))
    if not client or client[0] == own[0] or ip_address(client[0].partition("%")[0]).is_loopback:
        return "this host"
    return str(client[0])


def _token(headers: dict[bytes, str], query: str) -> str:
    """The token of a request: a bearer token, or the query's `token` where a URL must do by itself."""
    scheme, _, given = headers.get(b"authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return given.strip()
    return parse_qs(query).get("token", [""])[0]


def _json(status: int, value: Any, *headers: tuple[str, str]) -> Answer:
    return Answer(status, json.dumps(value).encode() + b"\n", headers=headers)


def _problem(status: int, detail: str, *headers: tuple[str, str]) -> Answer:
    return _json(status, {"status": status, "detail": detail}, *headers)
