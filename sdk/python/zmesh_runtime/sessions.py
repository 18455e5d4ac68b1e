"""Sessions with the project's database that the platform has signed in, for libpq."""

from __future__ import annotations

import contextlib
import os
import select
import socket
from typing import Any

from psycopg.pq import ConnStatus, PGconn, PollingStatus

from zmesh_runtime import network

_READY = b"Z\x00\x00\x00\x05I"
_PATIENCE_SECONDS = 2.0
_HEAD_BYTES = 5
_FILE = ".s.PGSQL.1"
# Without network nothing is connected. Connecting to an address of this length is answered with "in progress"
# (PRETENDED_ADDRESS_BYTES in sandbox/protocol/table.py), which begins with two bytes for its family.
PRETENDED_ADDRESS_BYTES = 101
_PRETENDED_HOST = "@".ljust(PRETENDED_ADDRESS_BYTES - 2 - len(f"/{_FILE}"), "z")
_GREETER = "host='{}' port=1 user=zmesh dbname=zmesh password=- client_encoding=UTF8 target_session_attrs=any"
Taken = tuple[int, bytes]  # the descriptor of a session, and what libpq expects to read when it signs in


def answer_on(channel: int) -> Taken | None:
    """What the platform answers to a frame that asked for a session. Without network there is no other way to one: then
    the answer is waited for as long as the run may take."""
    with contextlib.suppress(OSError):
        if not network.is_off() and not _readable(channel):
            return None
        platform = socket.socket(fileno=channel)
        try:
            answer, descriptors, *_ = socket.recv_fds(platform, 65536, 1)
        finally:
            platform.detach()
        if descriptors:
            return descriptors[0], answer[_HEAD_BYTES:]
    return None


def adopt(taken: Taken) -> Any:
    """A session as a libpq connection; None if it is unusable.

    libpq cannot be given a socket. It signs in to a server of ours, which only greets, and then its socket is replaced.
    """
    descriptor, greeting = taken
    with socket.socket(fileno=descriptor) as session, contextlib.suppress(OSError):
        pgconn, us = _pretended() if network.is_off() else _connected(os.getcwd())
        with us:
            _greet(pgconn, us, greeting)
        if pgconn.status == ConnStatus.OK and _was_set_up(session):
            os.dup2(session.fileno(), pgconn.socket, inheritable=False)
            return pgconn
    return None


def _connected(folder: str) -> tuple[Any, socket.socket]:
    """A connection of libpq to us, and our end of it. Raises OSError."""
    path = f"{folder}/{_FILE}"
    with socket.socket(socket.AF_UNIX) as server:
        server.settimeout(_PATIENCE_SECONDS)
        server.bind(path)
        try:
            server.listen(1)
            pgconn = PGconn.connect_start(_GREETER.format(folder).encode())
        finally:
            os.unlink(path)
        _check(pgconn)
        return pgconn, server.accept()[0]


def _pretended() -> tuple[Any, socket.socket]:
    """The same where no socket can be connected: libpq believes that it is connecting, and gets a socket that is."""
    pgconn = PGconn.connect_start(_GREETER.format(_PRETENDED_HOST).encode())
    _check(pgconn)
    us, theirs = socket.socketpair()
    with theirs:
        theirs.setblocking(False)
        os.dup2(theirs.fileno(), pgconn.socket, inheritable=False)
    return pgconn, us


def _check(pgconn: Any) -> None:
    if pgconn.status == ConnStatus.BAD:
        raise OSError(pgconn.error_message.decode("utf-8", "replace"))


def _greet(pgconn: Any, us: socket.socket, greeting: bytes) -> None:
    us.sendall(greeting)
    while (status := pgconn.connect_poll()) in (PollingStatus.READING, PollingStatus.WRITING):
        if status == PollingStatus.READING and not _readable(pgconn.socket):
            break


def _was_set_up(session: socket.socket) -> bool:
    """Whether the platform's settings were applied; reads the server's answer to them."""
    answer = b""
    while not answer.endswith(_READY):
        part = session.recv(4096) if _readable(session.fileno()) else b""
        if not part:
            return False
        answer += part
    return answer.startswith(b"C")


def _readable(descriptor: int) -> bool:
    waiting = select.poll()
    waiting.register(descriptor, select.POLLIN)
    return bool(waiting.poll(_PATIENCE_SECONDS * 1000))
