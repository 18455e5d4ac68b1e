"""What clients that are broken, slow or hostile may send over a connection."""

from __future__ import annotations

import asyncio
import json
import random
import re
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvicorn

from api.http import connections
from api.http.admission import Admission, Bounds
from api.http.connections import MOST_PIPELINED, READ_AT_ONCE, Guard, GuardedProtocol
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
        (START + b"transfer-encoding: xchunked, chunked\r\n\r\n0\r\n\r\n", 400, "malformed_request"),
        (
            START + b"transfer-encoding: identity\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
            "malformed_request",
        ),
        (START + b"host: i\r\n\r\n", 400, "malformed_request"),
        (START.replace(b"1.1", b"1.0") + b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400, "malformed_request"),
        (
            START.replace(b"1.1", b"0.9") + b"connection: keep-alive, upgrade\r\nupgrade: x\r\n\r\n",
            400,
            "malformed_request",
        ),
        (b"GET /health\r\n\r\n", 400, "malformed_request"),
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
async def serving(application: object, keep_alive: int = 5, guard: Guard | None = None) -> AsyncIterator[int]:
    """Its port."""
    protocol = partial(GuardedProtocol, guard=guard or Guard(Admission(Bounds())))
    config = uvicorn.Config(
        application,  # type: ignore[arg-type]
        port=0,
        http=protocol,  # type: ignore[arg-type]
        ws="none",
        lifespan="off",
        log_config=None,
        timeout_keep_alive=keep_alive,
    )
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
    assert received.count(b"HTTP/1.1 204") == len(application.begun) <= MOST_PIPELINED + 1
    assert received.count(b"HTTP/1.1 429") == 1
    assert b"too_many_pipelined" in received.rpartition(b"HTTP/1.1 204")[2], "the answer to the last"


async def test_a_client_that_hangs_up_ends_the_request_before_those_that_it_pipelined(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "HALF_CLOSED_SECONDS", 0.1)
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


class Keeping:
    """An application that keeps what it was sent: its paths, bodies and, once a body is read, headers."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.bodies: dict[str, bytes] = {}
        self.headers: list[tuple[bytes, bytes]] = []

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        self.begun.append(scope["path"])
        body, more = b"", True
        while more:
            message = await receive()
            body += message["body"]
            more = message["more_body"]
        self.bodies[scope["path"]] = body
        self.headers = scope["headers"]
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})


async def test_what_is_read_later_is_complete_and_in_order() -> None:
    """While a connection waits for its turn, nothing more is read from it."""
    application = Keeping()
    sent = {f"/{n}": bytes(f"{n:06}", "ascii") * 40_000 for n in range(READ_AT_ONCE + 50)}
    async with serving(application) as port:
        opened = [await asyncio.open_connection("127.0.0.1", port) for _ in sent]
        for (path, body), (_, writer) in zip(sent.items(), opened, strict=True):
            writer.write(f"POST {path} HTTP/1.1\r\nhost: h\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
        for reader, writer in opened:
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204")
            writer.close()
    assert application.bodies == sent


async def test_a_client_waits_for_few_requests_of_another() -> None:
    """One address with 2,000 connections kept others waiting for 12 seconds."""
    application = Keeping()
    async with serving(application) as port, asyncio.timeout(20):
        with ExitStack() as open:
            for path, source in [*((f"/{n}", "127.0.0.1") for n in range(500)), ("/other", "127.0.0.2")]:
                connection = open.enter_context(socket.create_connection(("127.0.0.1", port), None, (source, 0)))
                connection.sendall(request(path))
            while len(application.bodies) <= 500:
                await asyncio.sleep(0)
    assert application.begun.index("/other") < 250


async def test_a_client_that_has_sent_all_it_wants_to_still_gets_its_answer() -> None:
    """`nc -N` and `socat` close their side after a request."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(scope: object, receive: object, send: Any) -> None:
        begun.set()
        await go_on.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for n in range(10):
            await send({"type": "http.response.body", "body": b"x" * 100_000, "more_body": n < 9})

    guard = Guard(Admission(Bounds()))
    async with serving(slow, guard=guard) as port, asyncio.timeout(20):
        reader, writer = await connected(port, request("/"))
        await begun.wait()
        writer.write_eof()
        while not guard.has_idle:
            await asyncio.sleep(0.01)
        go_on.set()
        received = await reader.read()
        writer.close()
    assert received.startswith(b"HTTP/1.1 200")
    assert received.count(b"x") == 1_000_000


async def test_all_pipelined_requests_of_a_client_that_sends_no_more_are_answered() -> None:
    application = Keeping()
    async with serving(application) as port, asyncio.timeout(20):
        reader, writer = await connected(port, b"".join(request(f"/{n}") for n in range(10)))
        writer.write_eof()
        received = await reader.read()
        writer.close()
    assert received.count(b"HTTP/1.1 204") == len(application.begun) == 10


async def test_a_client_that_sends_no_more_gives_way_to_others() -> None:
    application = Streaming()
    guard = Guard(Admission(Bounds(connections=1)))
    async with serving(application, guard=guard) as port, asyncio.timeout(20):
        reader, writer = await connected(port, request("/stream"))
        await reader.readuntil(b"\r\n\r\n")
        writer.write_eof()
        while not guard.has_idle:
            await asyncio.sleep(0.01)
        other, other_writer = await connected(port, request("/other"))
        assert (await other.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204")
        await application.gone.wait()
        writer.close()
        other_writer.close()


@pytest.mark.parametrize("wait", [b"expect: 100-continue\r\n", b""])
async def test_a_request_that_is_refused_while_it_is_carried_out_leaves_no_error(
    wait: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Asking for the rest of its body, it wrote to a connection that nothing can be written to any more."""
    sent = b"POST / HTTP/1.1\r\nhost: h\r\n" + wait + b"transfer-encoding: chunked\r\n\r\nnonsense\r\n"
    async with serving(nothing) as port:
        reader, writer = await connected(port, sent)
        received = await reader.read()
        writer.close()
    assert received.startswith(b"HTTP/1.1 400")
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.parametrize("endless", [b"0\r\nx: ", b"1;"])
async def test_what_frames_a_body_has_a_limit_as_well(endless: bytes) -> None:
    """A field after a chunked body was kept in memory whatever its length, and counted nowhere."""
    async with serving(nothing) as port, asyncio.timeout(20):
        reader, writer = await connected(
            port, b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n" + endless + b"x" * 100_000
        )
        assert (await reader.read()).startswith(b"HTTP/1.1 431")
        writer.close()


async def test_small_chunks_have_no_limit_of_their_own() -> None:
    application = Keeping()
    head = b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n"
    async with serving(application) as port, asyncio.timeout(20):
        reader, writer = await connected(port, head + b"1;a=b\r\nx\r\n" * 20_000 + b"0\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204")
        writer.close()
    assert application.bodies == {"/": b"x" * 20_000}


INNER = b"GET /within HTTP/1.1\r\nhost: h\r\n\r\n"


@pytest.mark.parametrize(
    ("framing", "sent", "body"),
    [
        (b"content-length: %d" % len(INNER), INNER, INNER),
        (b"content-length: 0", b"", b""),
        (b"transfer-encoding: chunked", b"%x\r\n%b\r\n0\r\n\r\n" % (len(INNER), INNER), INNER),
        (b"Transfer-Encoding:Chunked ", b"%x\r\n%b\r\n0\r\n\r\n" % (len(INNER), INNER), INNER),
    ],
)
@pytest.mark.parametrize("is_apart", [False, True])
async def test_the_body_of_a_request_that_offers_another_protocol_is_its_body(
    framing: bytes, sent: bytes, body: bytes, is_apart: bool
) -> None:
    """Java's client offers HTTP/2 in its first request. The parser took the body for the next request."""
    application = Keeping()
    offer = b"POST /offer HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: h2c\r\n" + framing + b"\r\n\r\n"
    async with serving(application) as port, asyncio.timeout(20):
        reader, writer = await connected(port, offer if is_apart else offer + sent)
        while not application.begun:
            await asyncio.sleep(0.01)
        writer.write(sent + request("/next") if is_apart else request("/next"))
        for _ in range(2):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204")
        writer.close()
    assert application.bodies == {"/offer": body, "/next": b""}


def random_request(path: str, body: bytes, choose: random.Random) -> bytes:
    """Framed in one of the ways that HTTP has, and perhaps with the offer of another protocol."""
    offer = choose.choice(
        [b"", b"connection: upgrade\r\nupgrade: h2c\r\n", b"upgrade: x\r\nconnection: keep-alive, Upgrade\r\n"]
    )
    framing, sent = b"content-length: %d\r\n" % len(body), body
    if choose.random() < 0.5:
        framing, sent = b"transfer-encoding: chunked\r\n", b""
        while body:
            size = choose.randint(1, len(body))
            sent += b"%x%b\r\n%b\r\n" % (size, choose.choice([b"", b";a=b"]), body[:size])
            body = body[size:]
        sent += b"0\r\n" + choose.choice([b"", b"x-after: 1\r\n"]) + b"\r\n"
    return f"POST {path} HTTP/1.1\r\n".encode() + choose.choice([offer + framing, framing + offer]) + b"\r\n" + sent


@pytest.mark.parametrize("seed", range(20))
async def test_each_request_has_its_own_body_however_it_is_framed_and_cut(seed: int) -> None:
    application = Keeping()
    choose = random.Random(seed)
    bodies = {f"/{n}": choose.choice([b"", b"x", b"0\r\n\r\n", INNER, b"0\r\n\r\n" + INNER]) for n in range(20)}
    sent = b"".join(random_request(path, body, choose) for path, body in bodies.items())
    async with serving(application) as port, asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while sent:
            size = choose.choice([1, 2, 20, 200])
            writer.write(sent[:size])
            sent = sent[size:]
            await asyncio.sleep(0)
        for _ in bodies:
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204")
        writer.close()
    assert application.bodies == bodies


async def test_fields_after_a_body_are_no_headers() -> None:
    """A proxy has checked or replaced the headers only."""
    application = Keeping()
    head = b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n"
    async with serving(application) as port:
        reader, writer = await connected(port, head + b"1\r\nx\r\n0\r\nx-forwarded-for: 192.0.2.1\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204")
        writer.close()
    assert application.bodies == {"/": b"x"}
    assert application.headers == [(b"host", b"h"), (b"transfer-encoding", b"chunked")]


@pytest.mark.parametrize(
    "refused",
    [b"nonsense\r\n\r\n", b"POST / HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\nnonsense\r\n"],
)
@pytest.mark.parametrize("sends_no_more", [False, True])
async def test_a_refusal_is_no_answer_to_the_requests_before_it(refused: bytes, sends_no_more: bool) -> None:
    finished = asyncio.Event()

    async def slow(scope: object, receive: object, send: object) -> None:
        await finished.wait()
        await nothing(scope, receive, send)

    async with serving(slow) as port:
        reader, writer = await connected(port, request("/1") + request("/2") + refused)
        if sends_no_more:
            writer.write_eof()
        finished.set()
        received = await reader.read()
        writer.close()
    assert re.findall(rb"HTTP/1.1 (\d+)", received) == [b"204", b"204", b"400"]


async def early(scope: object, receive: object, send: Any) -> None:
    """An application that answers before it has read anything."""
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


async def test_a_request_that_was_answered_gets_no_second_answer(impatient: int) -> None:
    """Its body took too long, and the client would have taken the 408 for the answer to its next request."""
    async with serving(early) as port:
        reader, writer = await connected(port, b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 9\r\n\r\n1")
        received = await reader.read()
        writer.close()
    assert received.startswith(b"HTTP/1.1 204")
    assert received.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize("rest", [b"12345", b"12345\r\n"])
async def test_an_idle_connection_is_closed_whatever_came_after_its_response(rest: bytes) -> None:
    """It stayed open forever, and the rest of a body kept it from making room for others."""
    async with serving(early, keep_alive=1) as port:
        reader, writer = await connected(port, b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        writer.write(rest)
        async with asyncio.timeout(20):
            assert await reader.read() == b""
        writer.close()


async def test_a_client_that_does_not_read_the_end_of_a_response_is_disconnected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Up to 64 KiB were not counted, and kept a connection forever, even one that the server had closed."""

    async def sized(scope: dict[str, str], receive: object, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": bytes(int(scope["path"][1:]) * 1024)})

    monkeypatch.setattr(connections, "SEND_SECONDS", 0.2)
    guard = Guard(Admission(Bounds()))
    async with serving(sized, keep_alive=1, guard=guard) as port:
        with ExitStack() as open:
            for size in range(20, 400, 20):  # which of them fit into the kernel's buffers depends on the kernel
                connection = open.enter_context(socket.socket())
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                connection.connect(("127.0.0.1", port))
                connection.sendall(request(f"/{size}"))
            async with asyncio.timeout(20):
                while not guard.admission.connections:
                    await asyncio.sleep(0.01)
                while guard.admission.connections:
                    await asyncio.sleep(0.01)
