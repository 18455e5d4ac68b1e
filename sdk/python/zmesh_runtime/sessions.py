"""Sessions with the project's database that the platform has signed in, for libpq."""

from __future__ import annotations

import contextlib
import os
import select
import socket
from typing import Any

from psycopg.pq import ConnStatus, PGconn, PollingStatus

_READY = b"Z\x00\x00\x00\x05I"
_PATIENCE_SECONDS = 2.0
_HEAD_BYTES = 5
_FILE = ".s.PGSQL.1"
_GREETER = "host='{}' port=1 user=zmesh dbname=zmesh password=- client_encoding=UTF8 target_session_attrs=any"
Taken = tuple[int, bytes]  # the descriptor of a session, and what libpq expects to hear when it signs in


def answer_on(channel: int) -> Taken | None:
    """What the platform answers to a frame that asked for a session."""
    with contextlib.suppress(OSError):
        if not _readable(channel):
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
    """A session as a connection of libpq; None when it is of no use.

    libpq cannot be given one. It signs in with a server of our own, which only greets, and then its socket is replaced.
    """
    descriptor, greeting = taken
    with socket.socket(fileno=descriptor) as session, contextlib.suppress(OSError):
        pgconn = _greeted(greeting, os.getcwd())
        if pgconn.status == ConnStatus.OK and _was_set_up(session):
            os.dup2(session.fileno(), pgconn.socket, inheritable=False)
            return pgconn
    return None


def _greeted(greeting: bytes, folder: str) -> Any:
    """Raises OSError."""
    path = f"{folder}/{_FILE}"
    with socket.socket(socket.AF_UNIX) as server:
        server.settimeout(_PATIENCE_SECONDS)
        server.bind(path)
        try:
            server.listen(1)
            pgconn = PGconn.connect_start(_GREETER.format(folder).encode())
        finally:
            os.unlink(path)
        if pgconn.status == ConnStatus.BAD:
            return pgconn
        with server.accept()[0] as us:
            us.sendall(greeting)
            while pgconn.connect_poll() == PollingStatus.READING and _readable(pgconn.socket):
                pass
    return pgconn


def _was_set_up(session: socket.socket) -> bool:
    """Reads the answer to what the platform has set in it."""
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
