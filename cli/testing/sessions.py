"""Passes on the database sessions of tests to the server, and lends them to the sandbox."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from listener.wire import CHUNK, ProtocolError, message, take
from support.tasks import end

REFUSAL = b"N"  # one byte: the server has no TLS
SIGNED_IN = b"\0\0\0\0"


class Sessions:
    """A port of this machine in place of the server's, and the sessions that come through it."""

    def __init__(self, host: str, port: int) -> None:
        self._address = host, port
        self._open: dict[int, Session] = {}  # by the process of the server
        self._tasks: set[asyncio.Task[None]] = set()

    async def listen(self) -> int:
        """Returns the port."""
        listening = socket.create_server(("127.0.0.1", 0))
        listening.setblocking(False)
        self._start(listening)
        return int(listening.getsockname()[1])

    def served_by(self, process_id: int) -> Session | None:
        """The session with this pg_backend_pid()."""
        return self._open.get(process_id)

    async def close(self) -> None:
        """End them all."""
        await end(self._tasks)

    def _start(self, listening: socket.socket, client: socket.socket | None = None) -> None:
        work = self._accept(listening) if client is None else self._pass_on(client)
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listening: socket.socket) -> None:
        with listening:
            while True:
                client, _ = await asyncio.get_running_loop().sock_accept(listening)
                self._start(listening, client)

    async def _pass_on(self, client: socket.socket) -> None:
        with client, socket.socket() as server, suppress(OSError, ProtocolError):
            server.setblocking(False)
            await asyncio.get_running_loop().sock_connect(server, self._address)
            await Session(client, server).pass_on(self._open)


class Session:
    """A session with a test at one end and the server at the other."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self._client = client
        self._server = server
        self._greeting = b""  # what a driver that signs in has to know
        self._process_id = 0
        self._ready = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._answering: asyncio.Task[None] | None = None

    async def pass_on(self, open: dict[int, Session]) -> None:
        """Pass on messages until the test ends the session. Raises OSError, ProtocolError."""
        forwarding = self._start(self._client, self._server)
        try:
            await self._greet()
            open[self._process_id] = self
            self._answering = self._start(self._server, self._client)
            await forwarding
        finally:
            open.pop(self._process_id, None)
            await end(self._tasks)

    @asynccontextmanager
    async def lent(self) -> AsyncIterator[tuple[socket.socket, bytes]]:
        """The server's socket, and what a driver has to know. During the block, nobody else reads the socket; the test
        must be waiting."""
        assert self._answering is not None
        await end({self._answering})
        try:
            yield self._server, self._greeting
        finally:
            self._answering = self._start(self._server, self._client)

    def _start(self, source: socket.socket, target: socket.socket) -> asyncio.Task[None]:
        task = asyncio.create_task(_copy(source, target))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _greet(self) -> None:
        """Pass on what the server sends until it is ready for a query. Raises OSError, ProtocolError."""
        loop, buffer = asyncio.get_running_loop(), bytearray()
        while not self._ready:
            if not (data := await loop.sock_recv(self._server, CHUNK)):
                raise ConnectionResetError("the session ended")
            await loop.sock_sendall(self._client, data)
            buffer += data if data != REFUSAL else b""
            while (found := take(buffer)) is not None:
                self._keep(*found)

    def _keep(self, kind: bytes, body: bytes) -> None:
        if kind == b"K":
            self._process_id, _ = struct.unpack("!ii", body)
            body = struct.pack("!ii", self._process_id, 0)  # a key that cancels nothing
        if kind in (b"S", b"K", b"Z") or (kind == b"R" and body == SIGNED_IN):
            self._greeting += message(kind, body)
        self._ready = kind == b"Z"


async def _copy(source: socket.socket, target: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    with suppress(OSError):
        while data := await loop.sock_recv(source, CHUNK):
            await loop.sock_sendall(target, data)
        target.shutdown(socket.SHUT_WR)
