"""What clients that are broken, slow or hostile may send over a connection."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest
import uvicorn

from api.http import connections
from api.http.connections import GuardedProtocol
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


@pytest.fixture
async def impatient(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    """Port of a server that gives head and body a moment only."""
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.2)
    monkeypatch.setattr(connections, "BODY_SECONDS", 0.2)
    monkeypatch.setattr(connections, "LINGER_SECONDS", 0.05)
    config = uvicorn.Config(nothing, port=0, http=GuardedProtocol, ws="none", lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    yield server.servers[0].sockets[0].getsockname()[1]
    await server.shutdown()


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
