"""What clients that are broken, slow or hostile may send over a connection."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest
import uvicorn

from api.http import connections
from api.http.connections import MOST_PIPELINED, READ_AT_ONCE, GuardedProtocol
from tests.api.client import Api


def answer_to(api: Api, *parts: bytes) -> tuple[int, dict[str, object]]:
    """Status and problem of the answer to raw bytes."""
    address = urlsplit(api.url)
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        for part in parts:
            connection.sendall(part)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head, received
    return int(head.split()[1]), json.loads(body)


START = b"GET /health HTTP/1.1\r\nhost: h\r\n"


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (START + b"big: " + b"x" * 40_000 + b"\r\n\r\n", 431, "headers_too_large"),
        (START + b"big: " + b"x" * 100_000, 431, "headers_too_large"),
        (START + b"".join(b"h%d: x\r\n" % n for n in range(101)) + b"\r\n", 431, "headers_too_large"),
        (b"GET /" + b"x" * 40_000 + b" HTTP/1.1\r\nhost: h\r\n\r\n", 431, "headers_too_large"),
        (b"not http at all\r\n\r\n", 400, "malformed_request"),
        (b"GET /\xff HTTP/1.1\r\nhost: h\r\n\r\n", 400, "malformed_request"),
        (START + b"bad header\r\n\r\n", 400, "malformed_request"),
        (START + b"x: a\x00b\r\n\r\n", 400, "malformed_request"),
        (START + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n", 400, "malformed_request"),
        (START + b"content-length: -5\r\n\r\n", 400, "malformed_request"),
    ],
)
def test_an_unacceptable_request_gets_a_named_error_and_is_disconnected(
    api: Api, sent: bytes, status: int, code: str
) -> None:
    answered, problem = answer_to(api, sent)
    assert (answered, problem["status"], problem["code"]) == (status, status, code)
    assert api.client.get(f"{api.url}/health").status_code == 200


def test_a_hundred_headers_and_30_kib_are_fine(api: Api) -> None:
    headers = {f"h{n}": "x" * 300 for n in range(90)}
    assert api.client.get(f"{api.url}/health", headers=headers).status_code == 200


async def nothing(scope: object, receive: object, send: object) -> None:
    """An application that reads the body and answers."""
    more = True
    while more:
        message = await receive()  # type: ignore[operator]
        if message["type"] == "http.disconnect":
            return
        more = message["more_body"]
    await send({"type": "http.response.start", "status": 204, "headers": []})  # type: ignore[operator]
    await send({"type": "http.response.body"})  # type: ignore[operator]


async def connected(port: int, sent: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection on which `sent` has arrived before the server, which shares this event loop, gets to accept it."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.sendall(sent)
    return await asyncio.open_connection(sock=connection)


class Streaming:
    """An application whose response to the path /stream goes on until its client is gone."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.gone = asyncio.Event()

    async def __call__(self, scope: dict[str, str], receive: object, send: object) -> None:
        self.begun.append(scope["path"])
        if scope["path"] == "/stream":
            await send({"type": "http.response.start", "status": 200, "headers": []})  # type: ignore[operator]
            while (await receive())["type"] != "http.disconnect":  # type: ignore[operator]
                pass
            self.gone.set()
        else:
            await nothing(scope, receive, send)


@asynccontextmanager
async def serving(application: object) -> AsyncIterator[int]:
    """Its port."""
    config = uvicorn.Config(application, port=0, http=GuardedProtocol, ws="none", lifespan="off", log_config=None)  # type: ignore[arg-type]
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        await server.shutdown()


@pytest.fixture
async def impatient(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    """Port of a server that gives head and body a moment only."""
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.2)
    monkeypatch.setattr(connections, "BODY_SECONDS", 0.2)
    monkeypatch.setattr(connections, "LINGER_SECONDS", 0.05)
    async with serving(nothing) as port:
        yield port


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"", None),
        (b"POST / HT", 408),
        (b"POST / HTTP/1.1\r\nhost: h\r\n", 408),
        (b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\n12", 408),
        (b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n", 408),
        (b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\r\nPOST / HTTP/1.1\r\nhost", 204),
    ],
)
async def test_a_client_that_sends_too_slowly_is_disconnected(impatient: int, sent: bytes, status: int | None) -> None:
    reader, writer = await connected(impatient, sent)
    received = await reader.read()
    writer.close()
    assert (int(received.split()[1]) if received else None) == status
    if status == 204:
        assert b"408" in received


async def test_slow_clients_keep_nobody_else_from_being_answered(impatient: int) -> None:
    slow = [await connected(impatient, b"POST / HTTP/1.1\r\nx-slow: ") for _ in range(100)]
    reader, writer = await connected(
        impatient, b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 1\r\nconnection: close\r\n\r\n1"
    )
    assert (await reader.read()).startswith(b"HTTP/1.1 204")
    for waiting, _ in slow:
        assert (await waiting.read()).startswith(b"HTTP/1.1 408")
    for _, writer in slow:
        writer.close()


def request(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nhost: h\r\n\r\n".encode()


async def test_pipelined_requests_are_answered_in_their_order() -> None:
    application = Streaming()
    paths = [f"/{n}" for n in range(MOST_PIPELINED)]
    async with serving(application) as port:
        reader, writer = await connected(port, b"".join(map(request, paths)))
        for _ in paths:
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204")
        writer.close()
    assert application.begun == paths


async def test_more_requests_than_may_wait_on_a_connection_are_refused() -> None:
    """Ten connections that sent 5,000 each held the event loop for 915 ms."""
    application = Streaming()
    async with serving(application) as port:
        reader, writer = await connected(port, request("/more") * 5000)
        received = await reader.read()
        writer.close()
    assert received.count(b"HTTP/1.1 429") == 1
    assert b"too_many_pipelined" in received
    assert len(application.begun) <= 1


async def test_a_client_that_hangs_up_ends_the_request_before_those_that_it_pipelined() -> None:
    application = Streaming()
    async with serving(application) as port:
        reader, writer = await connected(port, request("/stream") + request("/next") * 3)
        await reader.readuntil(b"\r\n\r\n")
        writer.close()
        async with asyncio.timeout(20):
            await application.gone.wait()
    assert application.begun == ["/stream"]


async def test_a_request_whose_client_hangs_up_at_once_is_begun() -> None:
    """However many connections there are to read at the same time."""
    application = Streaming()
    async with serving(application) as port:
        for n in range(3 * READ_AT_ONCE):
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(request(f"/{n}"))
        async with asyncio.timeout(20):
            while len(application.begun) < 3 * READ_AT_ONCE:
                await asyncio.sleep(0.01)
    assert set(application.begun) == {f"/{n}" for n in range(3 * READ_AT_ONCE)}


async def test_what_is_read_later_is_complete_and_in_order() -> None:
    """While a connection waits for its turn, nothing more is read from it."""
    bodies: dict[str, bytes] = {}

    async def keep(scope: dict[str, str], receive: object, send: object) -> None:
        body, more = b"", True
        while more:
            message = await receive()  # type: ignore[operator]
            body += message["body"]
            more = message["more_body"]
        bodies[scope["path"]] = body
        await send({"type": "http.response.start", "status": 204, "headers": []})  # type: ignore[operator]
        await send({"type": "http.response.body"})  # type: ignore[operator]

    sent = {f"/{n}": bytes(f"{n:06}", "ascii") * 40_000 for n in range(READ_AT_ONCE + 50)}
    async with serving(keep) as port:
        opened = [await asyncio.open_connection("127.0.0.1", port) for _ in sent]
        for (path, body), (_, writer) in zip(sent.items(), opened, strict=True):
            writer.write(f"POST {path} HTTP/1.1\r\nhost: h\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
        for reader, writer in opened:
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204")
            writer.close()
    assert bodies == sent
