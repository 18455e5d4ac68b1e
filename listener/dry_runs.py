"""The database of a dry run: a session inside a transaction that is always rolled back.

The run gets one end of a socket pair, not the session. What it sends passes through here, where every statement that
would end the transaction is replaced by one that fails. Once the run has ended, the changed rows are read within its
transaction.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Mapping
from typing import Any

import psycopg

from listener.changed_rows import NOTHING, Begun, begin, changed_rows
from listener.environments import off_the_loop
from listener.sign_in import SessionNotTransferable, SignedIn, sign_in
from listener.transaction_control import ends_transaction
from listener.wire import CHUNK, SET_UP, Answers, ProtocolError, ServerError, message, take
from sandbox import Attachment

SIGN_IN_SECONDS = 10.0
IDLE_SECONDS = 5.0  # for the statement that was running when the run ended
READ_SECONDS = 20.0
FORWARDED = frozenset((b"Q", b"P", b"B", b"D", b"E", b"C", b"S", b"H", b"F", b"d", b"c", b"f"))
ANSWERED = frozenset((b"Q", b"S", b"F"))  # each ends in ReadyForQuery
LARGEST_TEXT = 1024 * 1024
MOST_STATEMENTS = 10_000  # in one text
FAILURES = (OSError, psycopg.Error, ServerError, ProtocolError, SessionNotTransferable, TimeoutError)
Changes = dict[str, Any]


def _failing(message: str, hint: str) -> bytes:
    """A statement that fails as the platform's own routines do."""
    return f"do $zmesh$ begin raise '{message}' using errcode = 'ZM409', hint = '{hint}'; end $zmesh$".encode()


NO_END = _failing(
    "a dry run cannot end its transaction",
    "Everything is rolled back at the end. Use zmesh.db.transaction(), which works, or leave it out.",
)
TOO_LARGE = _failing(
    "a dry run cannot execute a text of more than 1 MiB or 10,000 statements", "Pass large values as parameters."
)


class DryRun:
    """The one session of one dry run."""

    def __init__(self) -> None:
        self._url = ""
        self._session: SignedIn | None = None
        self._begun: Begun | None = None
        self._run: socket.socket | None = None  # our end of the pair
        self._pumps: list[asyncio.Task[None]] = []
        self._sent = 0  # messages that the server ends with ReadyForQuery
        self._unsynced = False
        self._answers = Answers()
        self._changed = asyncio.Event()  # something of the session: an answer, or its end

    async def attach(self, url: str, settings: Mapping[str, str]) -> Attachment | None:
        """The run's end of its only session; None if there is none, or it was given before."""
        if self._url:
            return None
        self._url = url
        try:
            async with asyncio.timeout(SIGN_IN_SECONDS):
                self._session = await sign_in(url)
                self._begun = await begin(self._session.socket, settings)
        except FAILURES:
            self.close()
            return None
        self._run, theirs = socket.socketpair()
        self._run.setblocking(False)
        self._run.send(SET_UP)
        self._pumps = [asyncio.create_task(self._forward()), asyncio.create_task(self._answer())]
        return Attachment(theirs, self._session.greeting)

    async def changes(self) -> Changes:
        """What would have changed; the run has ended. Everything is rolled back afterwards."""
        if self._session is None or self._begun is None:
            return NOTHING
        try:
            if not await self._is_idle():
                return {**NOTHING, "note": "The run ended in the middle of a statement, so its changes cannot be told."}
            if self._answers.ready and self._answers.transaction != "T":
                return {**NOTHING, "note": "The last statement failed, so its transaction has no changes."}
            async with asyncio.timeout(READ_SECONDS):
                return await changed_rows(self._session.socket, self._begun, self._url)
        except FAILURES as error:
            return {**NOTHING, "note": f"The changes cannot be told: {error or 'it took too long'}."}
        finally:
            self.close()

    def close(self) -> None:
        """End the session, whose transaction the server rolls back."""
        for task in self._pumps:
            task.cancel()
        if self._run is not None:
            self._run.close()
        if self._session is not None:
            self._session.end()
        self._session = self._run = None

    async def _forward(self) -> None:
        """From the run to the server, until the run closes its end or sends what it must not."""
        assert self._run is not None
        assert self._session is not None
        try:
            await self._forward_messages(self._run, self._session.socket)
        except FAILURES:
            pass
        finally:
            with contextlib.suppress(OSError):
                self._run.shutdown(socket.SHUT_RDWR)  # a run that broke the protocol must not wait for an answer

    async def _forward_messages(self, run: socket.socket, server: socket.socket) -> None:
        loop, buffer = asyncio.get_running_loop(), bytearray()
        while data := await loop.sock_recv(run, CHUNK):
            buffer += data
            while (found := take(buffer)) is not None:
                kind, body = found
                if kind not in FORWARDED:
                    return
                body = await _checked(kind, body)
                self._sent += kind in ANSWERED
                self._unsynced = kind not in ANSWERED
                await loop.sock_sendall(server, message(kind, body))

    async def _answer(self) -> None:
        """From the server to the run; on to nobody once that has ended."""
        assert self._run is not None
        assert self._session is not None
        loop = asyncio.get_running_loop()
        with contextlib.suppress(*FAILURES):
            while data := await loop.sock_recv(self._session.socket, CHUNK):
                self._answers.add(data)
                self._changed.set()
                with contextlib.suppress(OSError):
                    await loop.sock_sendall(self._run, data)
        self._changed.set()

    async def _is_idle(self) -> bool:
        """Whether the server has answered everything that the run sent; nobody else reads its session afterwards."""
        assert self._session is not None
        forward, answer = self._pumps
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                await asyncio.wait([forward])
                if self._unsynced:
                    self._sent += 1
                    await loop.sock_sendall(self._session.socket, message(b"S"))
                while self._answers.ready < self._sent and not answer.done():
                    if self._answers.copies_in:
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
