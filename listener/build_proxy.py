"""The proxy of one build, the only thing that its processes can connect to: it leads to the build's registries.

It listens on loopback while the build runs, and serves who knows its token: CONNECT for https, and requests with a
whole URL for http. Names are resolved here or by the proxy of the operator, never by the build.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Literal
from urllib.parse import urlsplit

from listener.build_hosts import HTTP, HTTPS, Host, is_address, is_among, normal
from listener.build_upstream import Connection, Unreachable, connect
from listener.http_heads import Head, HeadError, read_head
from listener.tls_hello import HANDSHAKE, NotHello, read_hello

HEAD_SECONDS = 10.0
LONGEST_HEAD = 32 * 1024
MOST_CONNECTIONS = 64
MOST_UNPROVEN = 16  # connections that have not presented the token: any process of the host can open them
MOST_REFUSED = 5  # that an error names
MOST_LOGGED = 20
PIECE = 64 * 1024
REFUSED = 421  # installers do not retry after this status
UNKNOWN_NAME = 424
_PROXY_FIELDS = frozenset({"connection", "keep-alive", "proxy-authorization", "proxy-connection", "upgrade"})


class BuildProxy:
    """Serves one build, and says in its log which connections failed; `refused` are the hosts that it asked for and may
    not connect to."""

    def __init__(self, hosts: Sequence[Host], log: Callable[[str], None]) -> None:
        self._hosts = hosts
        self._log = log
        self._logged: set[str] = set()
        self.refused: list[str] = []
        self.token = secrets.token_hex(24)
        self._credentials = "Basic " + base64.b64encode(f"build:{self.token}".encode()).decode()
        self._port = 0
        self._connections: set[asyncio.Task[None]] = set()
        self._unproven: dict[asyncio.StreamWriter, None] = {}  # the oldest first

    @property
    def port(self) -> int:
        return self._port

    @property
    def url(self) -> str:
        """The address for HTTPS_PROXY."""
        return f"http://build:{self.token}@127.0.0.1:{self._port}"

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=LONGEST_HEAD)
        self._port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()
            for task in self._connections:
                task.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._handle(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._unproven[writer] = None
        if len(self._unproven) > MOST_UNPROVEN:  # the oldest gives way, so that nobody holds up the build
            next(iter(self._unproven)).transport.abort()
        try:
            await self._serve(reader, writer)
        except (OSError, HeadError, asyncio.IncompleteReadError):
            pass
        finally:
            self._unproven.pop(writer, None)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(HEAD_SECONDS):
            head = await read_head(reader)
        if not hmac.compare_digest(head.value("proxy-authorization").encode(), self._credentials.encode()):
            await _answer(writer, 407, "Proxy Authentication Required", ("Proxy-Authenticate", "Basic"))
            return
        self._unproven.pop(writer, None)
        if len(self._connections) > MOST_CONNECTIONS:
            await _answer(writer, 503, "Too many connections of the build")
            return
        method, _, rest = head.line.partition(" ")
        scheme, name, port = _target(method, rest.partition(" ")[0])
        host = Host(normal(name), port)
        if not is_among(self._hosts, host.name, port):
            self._refuse(host)
            await _answer(writer, REFUSED, "not a host that builds connect to")
            return
        try:
            upstream = await connect(scheme, host.name, port)
        except Unreachable as error:
            sentence = f"cannot connect to {host}: {error}"
            self._tell(sentence)
            await _answer(writer, UNKNOWN_NAME if error.unknown_name else 502, sentence)
            return
        try:
            if scheme == "https":
                await _answer(writer, 200, "Connected", end=False)
                await _relay(reader, writer, upstream, host)
            else:
                await _forward(head, reader, writer, upstream)
        finally:
            upstream.writer.close()

    def _refuse(self, host: Host) -> None:
        if str(host) not in self.refused and len(self.refused) < MOST_REFUSED:
            self.refused.append(str(host))
        self._tell(refusal([str(host)]))

    def _tell(self, sentence: str) -> None:
        """Write the sentence to the log, unless the log has it, or has many such sentences."""
        if sentence not in self._logged and len(self._logged) < MOST_LOGGED:
            self._logged.add(sentence)
            self._log(sentence)


def refusal(hosts: Sequence[str]) -> str:
    """The sentence for people, without a capital letter and a full stop."""
    return (
        f"a connection to {', '.join(hosts)} was refused: builds may connect only to their registries "
        "and to hosts in the listener's ZMESH_BUILD_HOSTS"
    )


def _target(method: str, target: str) -> tuple[Literal["http", "https"], str, int]:
    """Where a request wants to go. Raises HeadError."""
    try:
        parts = urlsplit(f"https://{target}" if method == "CONNECT" else target)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise HeadError("malformed target") from error
    if not host or len(host) > 253 or not host.isprintable() or " " in host:
        raise HeadError("malformed target")
    if method == "CONNECT" and port:
        return "https", host, port
    if method != "CONNECT" and parts.scheme == "http":
        return "http", host, HTTP if port is None else port
    raise HeadError("neither CONNECT nor a URL of http")


async def _answer(
    writer: asyncio.StreamWriter, status: int, reason: str, *fields: tuple[str, str], end: bool = True
) -> None:
    """A response without content; with `end`, the last one of its connection."""
    ending = (("Connection", "close"), ("Content-Length", "0")) if end else ()
    reason = reason.encode("ascii", "replace").decode()
    writer.write(Head("", fields + ending).encoded(f"HTTP/1.1 {status} {reason}", ()))
    await writer.drain()


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: Connection, host: Host) -> None:
    """Pass on bytes in both directions until both have ended, or one has failed."""

    async def pass_on_checked() -> None:
        upstream.writer.write(await _opening(reader, host))
        await _pass_on(reader, upstream.writer)

    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(pass_on_checked())
            tasks.create_task(_pass_on(upstream.reader, writer))
    except* (OSError, asyncio.IncompleteReadError, NotHello):  # one side is gone, or is not let through
        pass


async def _opening(reader: asyncio.StreamReader, host: Host) -> bytes:
    """What a client sends first. Its TLS must ask for the host that it named, since many servers may share one address,
    such as those of a content delivery network. Raises NotHello."""
    first = await reader.read(1)
    if first[:1] != bytes([HANDSHAKE]) and host.port != HTTPS:
        return first
    hello, name = await read_hello(reader, first)
    if name.lower() != ("" if is_address(host.name) else host.name):
        raise NotHello
    return hello


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(PIECE):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


async def _forward(
    head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: Connection
) -> None:
    """Pass on one request, and its response as the last of the connection: the next request may go elsewhere."""
    method, url, _ = head.line.split(" ", 2) if head.line.count(" ") == 2 else (head.line, "", "")
    netloc = urlsplit(url).netloc
    if upstream.proxy is None:
        path = url.partition("://")[2][len(netloc) :]
        url = path if path.startswith("/") else f"/{path}"
    host = ("Host", netloc.rpartition("@")[2])
    request = head.encoded(f"{method} {url} HTTP/1.1", _PROXY_FIELDS | {"host"}, host, ("Connection", "close"))
    if upstream.proxy is not None:
        request = request[:-2] + upstream.proxy.authorization.encode() + b"\r\n"
    upstream.writer.write(request)
    sending = asyncio.create_task(_pass_on(reader, upstream.writer))
    try:
        while True:
            answer = await read_head(upstream.reader)
            informational = answer.status is not None and answer.status < 200
            closing = () if informational else (("Connection", "close"),)
            writer.write(answer.encoded(answer.line, _PROXY_FIELDS, *closing))
            if not informational:
                break
        await _pass_on(upstream.reader, writer)
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
