"""Bounds what a project's own code may send us in a database session.

libpq takes a message into memory as a whole, and reads for as long as something comes, before anybody can count its
bytes: one error message of a migration would cost gigabytes, and hold the event loop for seconds. So once a session has
signed in, libpq's socket is replaced by one end of a pair, and what the server sends is passed on here, piece by piece
and only up to a limit. That happens below TLS; in every other respect the connection stays libpq's.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from psycopg import AsyncConnection

MOST_BYTES = 1024 * 1024  # of all answers of a session: those are thousands of table changes or migrations
PIECE = 16 * 1024
LAST_WORDS_SECONDS = 1.0


class AnswersTooLarge(Exception):
    """The server sent more than is accepted, and the session has ended."""


@asynccontextmanager
async def bounded_answers(connection: AsyncConnection, most: int = MOST_BYTES) -> AsyncIterator[None]:
    """Limit what the server sends on a connection that is idle, and close it at the end. Raises AnswersTooLarge in
    place of the error to which the loss of the connection led."""
    ours, server = intercepted(connection.pgconn.socket)
    questions = asyncio.create_task(_pass_on(ours, server, None))
    answers = asyncio.create_task(_pass_on(server, ours, most))
    try:
        yield
    except Exception as error:
        if answers.done() and not answers.result():
            raise AnswersTooLarge from error
        raise
    finally:
        await connection.close()
        await asyncio.wait([questions], timeout=LAST_WORDS_SECONDS)
        for task in (questions, answers):
            task.cancel()
        await asyncio.wait([questions, answers])
        ours.close()
        server.close()


def intercepted(descriptor: int) -> tuple[socket.socket, socket.socket]:
    """Our end of the pair whose other end this descriptor is from now on, and what it was before."""
    server = socket.socket(fileno=os.dup(descriptor))
    ours, theirs = socket.socketpair()
    for end in (server, ours, theirs):
        end.setblocking(False)
    os.dup2(theirs.fileno(), descriptor, inheritable=False)
    theirs.close()
    return ours, server


async def _pass_on(source: socket.socket, target: socket.socket, most: int | None) -> bool:
    """From one to the other until one of them ends, which ends both; False if it was more than `most` bytes."""
    loop, passed = asyncio.get_running_loop(), 0
    try:
        with suppress(OSError):
            while piece := await loop.sock_recv(source, PIECE):
                passed += len(piece)
                if most is not None and passed > most:
                    return False
                await loop.sock_sendall(target, piece)
        return True
    finally:
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
