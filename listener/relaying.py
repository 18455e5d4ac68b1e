"""Passes a database session on to a run, which gets one end of a socket pair and cannot end the transaction.

What the run sends passes through here, where every statement that would end the transaction is replaced by one that
fails.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket

from listener.environments import off_the_loop
from listener.sign_in import SignedIn
from listener.transaction_control import ends_transaction
from listener.wire import CHUNK, SET_UP, Answers, ProtocolError, message, take
from sandbox import Attachment

IDLE_SECONDS = 5.0  # for the statement that was running when the run ended
FORWARDED = frozenset((b"Q", b"P", b"B", b"D", b"E", b"C", b"S", b"H", b"F", b"d", b"c", b"f"))
ANSWERED = frozenset((b"Q", b"S", b"F"))  # each ends in ReadyForQuery
LARGEST_TEXT = 1024 * 1024
MOST_STATEMENTS = 10_000  # in one text


def _failing(message: str, hint: str) -> bytes:
    """A statement that fails as the platform's own routines do."""
    return f"do $zmesh$ begin raise '{message}' using errcode = 'ZM409', hint = '{hint}'; end $zmesh$".encode()


NO_END = _failing(
    "this run cannot end its transaction",
    "Everything is rolled back at the end. Use zmesh.db.transaction(), which works, or leave it out.",
)
TOO_LARGE = _failing(
    "this run cannot execute a text of more than 1 MiB or 10,000 statements", "Pass large values as parameters."
)


class Relay:
    """Stands between a run and the session in whose transaction it works. Nobody else reads the session meanwhile."""

    def __init__(self, session: SignedIn) -> None:
        self.answers = Answers()
        self._session = session
        self._run, self._theirs = socket.socketpair()
        self._run.setblocking(False)
        self._sent = 0  # messages that the server ends with ReadyForQuery
        self._unsynced = False
        self._changed = asyncio.Event()  # something of the session: an answer, or its end
        self._run.send(SET_UP)
        self._pumps = [asyncio.create_task(self._forward()), asyncio.create_task(self._answer())]

    def attachment(self) -> Attachment:
        """The run's end."""
        return Attachment(self._theirs, self._session.greeting)

    async def is_idle(self) -> bool:
        """Whether the server has answered everything that the run sent; nobody reads its session afterwards."""
        forward, answer = self._pumps
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                await asyncio.wait([forward])
                if self._unsynced:
                    self._sent += 1
                    await loop.sock_sendall(self._session.socket, message(b"S"))
                while self.answers.ready < self._sent and not answer.done():
                    if self.answers.copies_in:
                        await loop.sock_sendall(self._session.socket, message(b"f", b"the run has ended\0"))
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        if answer.done():
            return False
        answer.cancel()
        await asyncio.wait([answer])
        return True

    def close(self) -> None:
        """Stop passing anything on."""
        for task in self._pumps:
            task.cancel()
        self._run.close()

    async def _forward(self) -> None:
        """From the run to the server, until the run closes its end or sends what it must not."""
        try:
            await self._forward_messages()
        except (OSError, ProtocolError):
            pass
        finally:
            with contextlib.suppress(OSError):
                self._run.shutdown(socket.SHUT_RDWR)  # a run that broke the protocol must not wait for an answer

    async def _forward_messages(self) -> None:
        loop, buffer = asyncio.get_running_loop(), bytearray()
        while data := await loop.sock_recv(self._run, CHUNK):
            buffer += data
            while (found := take(buffer)) is not None:
                kind, body = found
                if kind not in FORWARDED:
                    return
                body = await _checked(kind, body)
                self._sent += kind in ANSWERED
                self._unsynced = kind not in ANSWERED
                await loop.sock_sendall(self._session.socket, message(kind, body))

    async def _answer(self) -> None:
        """From the server to the run; once the run has ended, answers are read and dropped."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError, ProtocolError):
            while data := await loop.sock_recv(self._session.socket, CHUNK):
                self.answers.add(data)
                self._changed.set()
                with contextlib.suppress(OSError):
                    await loop.sock_sendall(self._run, data)
        self._changed.set()


async def _checked(kind: bytes, body: bytes) -> bytes:
    """The body of a message with a statement that fails in place of one that would end the transaction."""
    if kind not in (b"Q", b"P"):
        return body
    name, rest = (b"", body) if kind == b"Q" else body.split(b"\0", 1) if b"\0" in body else (body, b"")
    text, separator, parameters = rest.partition(b"\0")
    if len(text) > LARGEST_TEXT or text.count(b";") > MOST_STATEMENTS:
        replacement = TOO_LARGE
    elif await off_the_loop(len(text), ends_transaction, text):
        replacement = NO_END
    else:
        return body
    return (b"" if kind == b"Q" else name + b"\0") + replacement + separator + parameters
