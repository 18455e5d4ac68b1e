"""Bounds what a project's database may answer, and how long it may take: one row could fill the memory of the process
that serves agents, and PostgreSQL cannot interrupt all of its functions."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from api.management.bounded_answers import PIECE, intercepted
from cli.database.connecting import OPTIONS, connected
from cli.errors import CliError

if TYPE_CHECKING:
    import psycopg

MOST_BYTES = 2 * 1024 * 1024  # many times what a tool answers
SIGN_IN_SECONDS = 10.0
MOST_SECONDS = 60.0  # longer than the timeouts of a statement
_signing_in: set[str] = set()
_changing = threading.Lock()


def bounded_sign_in(url: str) -> psycopg.Connection:
    """A new connection as a project's role, which the project may have changed so that signing in takes long. Raises
    psycopg.Error."""
    import psycopg

    from sql.signing_in import UsesTls, signed_in

    try:
        pgconn = asyncio.run(signed_in(url, **OPTIONS))
    except UsesTls:
        return _signed_in_by_tls(url)
    except OSError as error:
        raise psycopg.OperationalError(str(error) or "the server does not answer") from error
    pgconn.nonblocking = 1
    return psycopg.Connection(pgconn)


def _signed_in_by_tls(url: str) -> psycopg.Connection:
    """In a thread, one for each role: with TLS, nothing tells in advance that it will take a quarter of an hour."""
    import psycopg

    with _changing:
        if url in _signing_in:
            raise psycopg.OperationalError("an earlier sign-in as the project's role has not ended yet")
        _signing_in.add(url)
    future: Future[psycopg.Connection] = Future()

    def sign_in() -> None:
        try:
            future.set_result(connected(url))
        except Exception as error:
            future.set_exception(error)
        finally:
            _signing_in.discard(url)

    threading.Thread(target=sign_in, daemon=True).start()
    try:
        return future.result(SIGN_IN_SECONDS)
    except TimeoutError:
        future.add_done_callback(_close)
        raise psycopg.OperationalError("signing in as the project's role takes too long") from None


def _close(signed_in: Future[psycopg.Connection]) -> None:
    if signed_in.exception() is None:
        signed_in.result().close()


@contextmanager
def bounded_answers(connection: psycopg.Connection, most: int = MOST_BYTES) -> Iterator[None]:
    """Limit what the server sends on an idle connection, as the API does on its own, and close it at the end.

    Raises CliError in place of the error that the loss of the connection caused.
    """
    ours, server = intercepted(connection.pgconn.socket)
    for end in (ours, server):
        end.setblocking(True)
    too_much, too_late = threading.Event(), threading.Event()
    passing = [
        threading.Thread(target=_pass_on, args=arguments, daemon=True)
        for arguments in ((ours, server, None, too_much), (server, ours, most, too_much))
    ]

    def give_up() -> None:
        too_late.set()
        _end(ours, server)

    timer = threading.Timer(MOST_SECONDS, give_up)
    for thread in (timer, *passing):
        thread.start()
    try:
        yield
    except Exception as error:
        if too_late.is_set():
            raise CliError(
                f"The database did not answer within {MOST_SECONDS:g} seconds.",
                code="answer_timeout",
                hint="PostgreSQL cannot interrupt some functions: position(), replace() and like take very long if "
                "both texts are long.",
            ) from error
        if too_much.is_set():
            raise CliError(
                f"The database answered with more than {most // 1024 // 1024} MiB.",
                code="answers_too_large",
                hint="Select fewer rows or columns, or shorten texts with left(…).",
            ) from error
        raise
    finally:
        timer.cancel()
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
