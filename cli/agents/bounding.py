"""Bounds what a project's database may answer: one row could fill the memory of the process that serves agents."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from api.management.bounded_answers import PIECE, intercepted
from cli.database.connecting import OPTIONS, connected
from cli.errors import CliError

if TYPE_CHECKING:
    import psycopg

MOST_BYTES = 2 * 1024 * 1024  # many times what a tool answers


def bounded_sign_in(url: str) -> psycopg.Connection:
    """A new connection as a project's role, which the project may have changed so that signing in takes long. Raises
    psycopg.Error."""
    import psycopg

    from sql.signing_in import UsesTls, signed_in

    try:
        pgconn = asyncio.run(signed_in(url, **OPTIONS))
    except UsesTls:
        return connected(url)
    except OSError as error:
        raise psycopg.OperationalError(str(error) or "the server does not answer") from error
    pgconn.nonblocking = 1
    return psycopg.Connection(pgconn)


@contextmanager
def bounded_answers(connection: psycopg.Connection, most: int = MOST_BYTES) -> Iterator[None]:
    """Limit what the server sends on an idle connection, as the API does on its own, and close it at the end.

    Raises CliError in place of the error that the loss of the connection caused.
    """
    ours, server = intercepted(connection.pgconn.socket)
    for end in (ours, server):
        end.setblocking(True)
    too_much = threading.Event()
    passing = [
        threading.Thread(target=_pass_on, args=arguments, daemon=True)
        for arguments in ((ours, server, None, too_much), (server, ours, most, too_much))
    ]
    for thread in passing:
        thread.start()
    try:
        yield
    except Exception as error:
        if too_much.is_set():
            raise CliError(
                f"The database answered with more than {most // 1024 // 1024} MiB.",
                code="answers_too_large",
                hint="Select fewer rows or columns, or shorten texts with left(…).",
            ) from error
        raise
    finally:
        connection.close()
        _end(ours, server)
        for thread in passing:
            thread.join()
        ours.close()
        server.close()


def _pass_on(source: socket.socket, target: socket.socket, most: int | None, too_much: threading.Event) -> None:
    """Pass on bytes until one of the two ends, which ends both."""
    passed = 0
    with suppress(OSError):
        while piece := source.recv(PIECE):
            passed += len(piece)
            if most is not None and passed > most:
                too_much.set()
                break
            target.sendall(piece)
    _end(source, target)


def _end(*ends: socket.socket) -> None:
    for end in ends:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
