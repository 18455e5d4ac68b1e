"""The database of a dry run: a session inside a transaction that is always rolled back.

The run gets the session through a relay, which lets nothing pass that ends the transaction. Once the run has ended, the
changed rows are read within its transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import psycopg

from listener.changed_rows import NOTHING, Begun, begin, changed_rows
from listener.relaying import Relay
from listener.sign_in import SessionNotTransferable, SignedIn, sign_in
from listener.wire import ProtocolError, ServerError
from sandbox import Attachment

SIGN_IN_SECONDS = 10.0
READ_SECONDS = 20.0
FAILURES = (OSError, psycopg.Error, ServerError, ProtocolError, SessionNotTransferable, TimeoutError)
Changes = dict[str, Any]


class DryRun:
    """The one session of one dry run."""

    def __init__(self) -> None:
        self._url = ""
        self._session: SignedIn | None = None
        self._begun: Begun | None = None
        self._relay: Relay | None = None

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
        self._relay = Relay(self._session)
        return self._relay.attachment()

    async def changes(self) -> Changes:
        """What would have changed; the run has ended. Everything is rolled back afterwards."""
        if self._session is None or self._begun is None or self._relay is None:
            return NOTHING
        try:
            if not await self._relay.is_idle():
                return {**NOTHING, "note": "The run ended in the middle of a statement, so its changes cannot be told."}
            if self._relay.answers.ready and self._relay.answers.transaction != "T":
                return {**NOTHING, "note": "The last statement failed, so its transaction has no changes."}
            async with asyncio.timeout(READ_SECONDS):
                return await changed_rows(self._session.socket, self._begun, self._url)
        except FAILURES as error:
            return {**NOTHING, "note": f"The changes cannot be told: {error or 'it took too long'}."}
        finally:
            self.close()

    def close(self) -> None:
        """End the session, whose transaction the server rolls back."""
        if self._relay is not None:
            self._relay.close()
        if self._session is not None:
            self._session.end()
        self._session = self._relay = None
