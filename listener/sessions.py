"""Sessions with the projects' databases for runs to take over: each serves one run, and nobody used it before.

Signing in takes PostgreSQL longer than most statements do, and takes a new process even longer.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Mapping

import psycopg

from listener.sign_in import SessionNotTransferable, SignedIn, sign_in
from sandbox import Attachment
from support.tasks import end

log = logging.getLogger(__name__)
SPARE = 2  # for each project whose runs recently asked for one
MOST_SPARE = 8  # of all projects
SPARE_SECONDS = 10.0  # for at most this long, a run may miss an `alter role … set`
REFILL_SECONDS = 0.02  # after one was taken: the run that has it goes first
SIGN_IN_SECONDS = 1.0  # runs wait for two


class Sessions:
    """Spare database sessions, signed in as the projects' roles."""

    def __init__(self) -> None:
        self._spare: OrderedDict[str, deque[SignedIn]] = OrderedDict()  # by connection string, oldest use first
        self._unfit: set[str] = set()  # connection strings of servers whose sessions cannot be handed over
        self._filling: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    async def take(self, url: str, settings: Mapping[str, str]) -> Attachment | None:
        """A session as the role of this connection string, with these settings; None if the run should sign in."""
        if url in self._unfit or self._closed:
            return None
        asyncio.get_running_loop().call_later(REFILL_SECONDS, self._refill, url)
        while spare := self._pop(url):
            if begun := _begun(spare, settings):
                return begun
        session = await self._signed_in(url)
        return None if session is None else _begun(session, settings)

    async def close(self) -> None:
        """End them all."""
        self._closed = True
        await end(self._tasks)
        while self._spare:
            self._end_one()

    async def _signed_in(self, url: str) -> SignedIn | None:
        try:
            async with asyncio.timeout(SIGN_IN_SECONDS):
                return await sign_in(url)
        except SessionNotTransferable:
            self._unfit.add(url)
        except (OSError, psycopg.Error) as error:
            log.debug("signing in for a run: %s", error)
        return None

    # Spare ones

    def _pop(self, url: str) -> SignedIn | None:
        spares = self._spare.get(url)
        if not spares:
            return None
        session = spares.popleft()
        if not spares:
            del self._spare[url]
        return session

    def _refill(self, url: str) -> None:
        if url not in self._filling and not self._closed:
            self._filling.add(url)
            task = asyncio.create_task(self._fill(url))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _fill(self, url: str) -> None:
        try:
            while len(self._spare.get(url, ())) < SPARE and (session := await self._signed_in(url)):
                self._spare.setdefault(url, deque()).append(session)
                self._spare.move_to_end(url)
                asyncio.get_running_loop().call_later(SPARE_SECONDS, self._expire, url, session)
                if sum(map(len, self._spare.values())) > MOST_SPARE:
                    self._end_one()
        finally:
            self._filling.discard(url)

    def _expire(self, url: str, session: SignedIn) -> None:
        spares = self._spare.get(url, deque())
        if session not in spares:
            return  # taken
        spares.remove(session)
        session.end()
        if not spares:
            del self._spare[url]

    def _end_one(self) -> None:
        """End the oldest session of the project that least recently asked for one."""
        if (session := self._pop(next(iter(self._spare)))) is not None:
            session.end()


def _begun(session: SignedIn, settings: Mapping[str, str]) -> Attachment | None:
    if session.begin(settings):
        return Attachment(session.socket, session.greeting)
    session.end()
    return None
