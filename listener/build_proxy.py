"""The proxy of one build, the only thing that its processes can connect to: it leads to the build's registries.

It listens on loopback while the build runs, and serves who knows its token: CONNECT for https, and requests with a
whole URL for http. Names are resolved here or by the proxy of the operator, never by the build.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import re
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from listener.build_hosts import HTTP, HTTPS, LONGEST_NAME, Host, is_address, is_among, is_host, normal
from listener.build_upstream import Connection, Unreachable, close, connect
from listener.http_heads import Head, HeadError, read_head
from listener.tls_hello import HANDSHAKE, NotHello, read_hello

HEAD_SECONDS = 10.0
LONGEST_HEAD = 32 * 1024
MOST_CONNECTIONS = 64
MOST_CONNECTING = 8  # so that a build does not keep all threads that look up names
MOST_UNPROVEN = 64  # connections that have not presented the token: any process of the host can open them
MOST_REFUSED = 5  # that an error names
MOST_LOGGED = 20
MOST_INTERIM = 8  # responses before the final one
PIECE = 64 * 1024
REFUSED = 421  # installers do not retry after this status
UNKNOWN_NAME = 424
# Of printable characters only: some proxies take a tab for a space, and what follows for the target.
_REQUEST = re.compile(r"([A-Z]+) ([!-~]+) HTTP/1\.[01]")
GONE = (OSError, asyncio.IncompleteReadError, RuntimeError)  # uvloop raises RuntimeError for a closed transport
_PROXY_FIELDS = frozenset({"connection", "keep-alive", "proxy-authorization", "proxy-connection", "upgrade"})


@dataclass(frozen=True, slots=True)
class Request:
    """What a client of the proxy wants, rebuilt from checked parts: its original text is never passed on."""

    method: str
    scheme: Literal["http", "https"]
    host: Host
    path: str  # for http

    @property
    def authority(self) -> str:
        return str(self.host).removesuffix(f":{HTTP}")


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
        self._connecting = asyncio.Semaphore(MOST_CONNECTING)
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
        if len(self._unproven) >= MOST_UNPROVEN:  # close the oldest, so that these cannot hold up the build
            oldest = next(iter(self._unproven))
            del self._unproven[oldest]
            oldest.transport.abort()
        self._unproven[writer] = None
        task = asyncio.get_running_loop().create_task(self._handle(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._serve(reader, writer)
        except (HeadError, *GONE):
            pass
        finally:
            self._unproven.pop(writer, None)
            close(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(HEAD_SECONDS):
            head = await read_head(reader)
        if not hmac.compare_digest(head.value("proxy-authorization").encode(), self._credentials.encode()):
            await _answer(writer, 407, "Proxy Authentication Required", ("Proxy-Authenticate", "Basic"))
            return
        self._unproven.pop(writer, None)
        if len(self._connections) - len(self._unproven) > MOST_CONNECTIONS:
            await _answer(writer, 503, "Too many connections of the build")
            return
        request = _request_of(head.line)
        if not is_among(self._hosts, request.host.name, request.host.port):
            self._refuse(request.host)
            await _answer(writer, REFUSED, "not a host that builds connect to")
            return
        try:
            async with self._connecting:
                upstream = await connect(request.scheme, request.host.name, request.host.port)
        except Unreachable as error:
            sentence = f"cannot connect to {request.host}: {error}"
            self._tell(sentence)
            await _answer(writer, UNKNOWN_NAME if error.unknown_name else 502, sentence)
            return
        try:
            if request.scheme == "https":
                await _answer(writer, 200, "Connected", end=False)
                await self._relay(reader, writer, upstream, request.host)
            else:
                await _forward(request, head, reader, writer, upstream)
        finally:
            close(upstream.writer)

    async def _relay(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: Connection, host: Host
    ) -> None:
        """Pass on bytes in both directions until both have ended, or one has failed."""

        async def pass_on_checked() -> None:
            upstream.writer.write(await _opening(reader, host))
            await _pass_on(reader, upstream.writer)

        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(pass_on_checked())
                tasks.create_task(_pass_on(upstream.reader, writer))
        except* NotHello:
            self._tell(f"a connection to {host} was closed: it does not begin with TLS that asks for this server")
        except* GONE:
            pass

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


def _request_of(line: str) -> Request:
    """What the first line of a head asks for. Raises HeadError."""
    found = _REQUEST.fullmatch(line)
    if found is None:
        raise HeadError("malformed")
    method, target = found.groups()
    try:
        parts = urlsplit(f"https://{target}" if method == "CONNECT" else target)
        name, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise HeadError("malformed target") from error
    if len(name) > LONGEST_NAME or not is_host(name := normal(name)):
        raise HeadError("malformed target")
    if method == "CONNECT" and port:
        return Request(method, "https", Host(name, port), "")
    if method != "CONNECT" and parts.scheme == "http":
        path = target.partition("://")[2][len(parts.netloc) :]
        return Request(method, "http", Host(name, port or HTTP), path if path.startswith("/") else f"/{path}")
    raise HeadError("neither CONNECT nor a URL of http")


async def _answer(
    writer: asyncio.StreamWriter, status: int, reason: str, *fields: tuple[str, str], end: bool = True
) -> None:
    """A response without content; with `end`, the last one of its connection."""
    ending = (("Connection", "close"), ("Content-Length", "0")) if end else ()
    reason = reason.encode("ascii", "replace").decode()
    writer.write(Head("", fields + ending).encoded(f"HTTP/1.1 {status} {reason}", ()))
    await writer.drain()


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


async def _pass_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, length: int) -> None:
    while length and (data := await reader.read(min(length, PIECE))):
        writer.write(data)
        await writer.drain()
        length -= len(data)


async def _forward(
    request: Request, head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: Connection
) -> None:
    """Pass on one request, and its response as the last of the connection: the next request may go elsewhere."""
    length = head.length()
    if length is None:
        await _answer(writer, 411, "Length Required")
        return
    target = request.path if upstream.proxy is None else f"http://{request.authority}{request.path}"
    fields = ("Host", request.authority), ("Connection", "close")
    encoded = head.encoded(f"{request.method} {target} HTTP/1.1", _PROXY_FIELDS | {"host"}, *fields)
    if upstream.proxy is not None:
        encoded = encoded[:-2] + upstream.proxy.authorization.encode() + b"\r\n"
    upstream.writer.write(encoded)
    sending = asyncio.create_task(_pass_body(reader, upstream.writer, length))
    try:
        for _ in range(MOST_INTERIM + 1):
            answer = await read_head(upstream.reader)
            interim = answer.status is not None and answer.status < 200
            closing = () if interim else (("Connection", "close"),)
            writer.write(answer.encoded(answer.line, _PROXY_FIELDS, *closing))
            if not interim:
                await _pass_on(upstream.reader, writer)
                break
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
