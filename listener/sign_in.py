"""Signs in to a project's database for a run: by libpq, until the session is handed over as a socket."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from psycopg.pq import abc as pq

from sql.signing_in import UsesTls, signed_in

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
    try:
        pgconn = await signed_in(url, **CONNECTION_OPTIONS)
    except UsesTls:
        raise SessionNotTransferable from None
    try:
        session = SignedIn(socket.socket(fileno=os.dup(pgconn.socket)), _greeting(pgconn))
        session.socket.setblocking(False)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, pgconn.socket, inheritable=False)  # otherwise finish() would tell the server that it ends
        os.close(null)
        return session
    finally:
        pgconn.finish()


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
