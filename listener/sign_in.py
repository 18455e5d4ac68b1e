"""Signs in to a project's database for a run: by libpq, until the session is handed over as a socket."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import PGconn, PollingStatus
from psycopg.pq import abc as pq

from sql.connecting import with_required_auth

CONNECTION_OPTIONS = {"application_name": "zmesh for the next run", "client_encoding": "UTF8", "gssencmode": "disable"}
# What a server reports at the start of a session, and drivers rely on (GUC_REPORT in PostgreSQL 18).
REPORTED = (
    b"application_name",
    b"client_encoding",
    b"DateStyle",
    b"default_transaction_read_only",
    b"in_hot_standby",
    b"integer_datetimes",
    b"IntervalStyle",
    b"is_superuser",
    b"scram_iterations",
    b"search_path",
    b"server_encoding",
    b"server_version",
    b"session_authorization",
    b"standard_conforming_strings",
    b"TimeZone",
)


class SessionNotTransferable(Exception):
    """A TLS session cannot be handed over: its keys are in this process."""


@dataclass(eq=False)
class SignedIn:
    """A session that nobody has used; `greeting` is what the server sent when we signed in."""

    socket: socket.socket
    greeting: bytes

    def begin(self, settings: Mapping[str, str]) -> bool:
        """Have the server apply these settings; False if the session has ended. The next user reads the answer."""
        if not self._is_quiet():
            return False
        text = "; ".join(f"set {name} to {_literal(value)}" for name, value in settings.items())
        query = _message(b"Q", text.encode() + b"\0")
        try:
            return self.socket.send(query) == len(query)
        except OSError:
            return False

    def end(self) -> None:
        """Tell the server, and close."""
        with contextlib.suppress(OSError):
            self.socket.send(_message(b"X"))
        self.socket.close()

    def _is_quiet(self) -> bool:
        """Whether it is alive, and the server has sent nothing since."""
        try:
            self.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False


async def sign_in(url: str) -> SignedIn:
    """Raises SessionNotTransferable, psycopg.Error, OSError."""
    pgconn = PGconn.connect_start(await _conninfo(url))
    try:
        while (status := pgconn.connect_poll()) in (PollingStatus.READING, PollingStatus.WRITING):
            await _ready(pgconn.socket, writing=status == PollingStatus.WRITING)
        if status != PollingStatus.OK:
            raise psycopg.OperationalError(pgconn.get_error_message())
        if pgconn.ssl_in_use:
            raise SessionNotTransferable
        session = SignedIn(socket.socket(fileno=os.dup(pgconn.socket)), _greeting(pgconn))
        session.socket.setblocking(False)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, pgconn.socket, inheritable=False)  # otherwise finish() would tell the server that it ends
        os.close(null)
        return session
    finally:
        pgconn.finish()


async def _conninfo(url: str) -> bytes:
    """With the address resolved, since libpq would block the event loop while resolving it. Raises OSError."""
    parts = conninfo_to_dict(with_required_auth(url), **CONNECTION_OPTIONS)
    host = str(parts.get("host") or "/")
    if "hostaddr" not in parts and not host.startswith(("/", "@")):
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
        parts["hostaddr"] = str(found[0][4][0])
    return make_conninfo("", **parts).encode()


async def _ready(descriptor: int, writing: bool) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    if writing:
        loop.add_writer(descriptor, ready.set)
    else:
        loop.add_reader(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        if writing:
            loop.remove_writer(descriptor)
        else:
            loop.remove_reader(descriptor)


def _greeting(pgconn: pq.PGconn) -> bytes:
    """What the server sent, in the form a driver that signs in expects; with a key that cancels nothing."""
    reported = [(name, pgconn.parameter_status(name)) for name in REPORTED]
    return b"".join(
        (
            _message(b"R", struct.pack("!i", 0)),
            *(_message(b"S", name + b"\0" + value + b"\0") for name, value in reported if value is not None),
            _message(b"K", struct.pack("!ii", pgconn.backend_pid, 0)),
            _message(b"Z", b"I"),
        )
    )


def _message(kind: bytes, body: bytes = b"") -> bytes:
    return kind + struct.pack("!i", 4 + len(body)) + body


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
