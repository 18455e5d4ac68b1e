"""Sends callbacks: how an invocation ended, to the URL that it names, signed as Standard Webhooks specifies."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from uuid import UUID

from psycopg_pool import AsyncConnectionPool

from listener.outgoing import Network, NotSent, post
from listener.postgres import DATABASE_ERRORS
from observing.events import CallbackDelivered, CallbackFailed, DatabaseFailed, InternalError
from observing.logs import invocation_id
from observing.stream import emit
from sql import callbacks
from sql.callbacks import Due, signing_purpose
from support.sealing import Sealer, SealingError
from support.standard_webhooks import new_secret, signature

AT_ONCE = 64
AT_ONCE_PER_PROJECT = 4
SECONDS_PER_TRY = 15.0
POLL_SECONDS = 5.0
GONE = 410


class Callbacks:
    """Sends up to 64 at once, four per project, so that slow receivers do not delay the callbacks of others."""

    def __init__(
        self, pool: AsyncConnectionPool, sealer: Sealer, networks: Sequence[Network], wake: asyncio.Event
    ) -> None:
        """Callbacks may go to `networks` and to the public internet; `wake` is set when there is something to send."""
        self._wake = wake
        self._pool = pool
        self._sealer = sealer
        self._networks = networks
        self._under_way: Counter[UUID] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Send what is due, forever. When this ends, another listener sends again what was in progress."""
        try:
            while True:
                self._wake.clear()
                try:
                    claimed = await self._start_due()
                    pause = 0.0 if claimed else await self._seconds_to_next()
                except DATABASE_ERRORS as error:
                    emit(DatabaseFailed("callbacks", str(error).strip()))
                    pause = POLL_SECONDS
                if pause > 0:
                    await self._pause(pause)
        finally:
            for task in list(self._tasks):
                task.cancel()

    async def _start_due(self) -> int:
        free = AT_ONCE - len(self._tasks)
        if free <= 0:
            return 0
        busy = [project for project, count in self._under_way.items() if count >= AT_ONCE_PER_PROJECT]
        async with self._pool.connection() as connection:
            due = await callbacks.claim(connection, min(free, AT_ONCE_PER_PROJECT), busy)
        for one in due:
            self._under_way[one.project_id] += 1
            task = asyncio.create_task(self._try(one))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return len(due)

    async def _seconds_to_next(self) -> float:
        async with self._pool.connection() as connection:
            seconds = await callbacks.seconds_to_next(connection)
        # If something due was not claimed, its project has enough in progress: the end of one of those wakes us.
        return POLL_SECONDS if seconds is None or seconds <= 0 else min(seconds, POLL_SECONDS)

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _try(self, due: Due) -> None:
        began = time.monotonic()
        invocation_id.set(str(due.invocation_id))
        try:
            status, error, final = await self._outcome(due)
            seconds = time.monotonic() - began
            async with self._pool.connection() as connection:
                await callbacks.end(connection, due, status, error, final)
            if error is not None:
                emit(CallbackFailed(due.invocation_id, due.attempt, error, final, seconds))
            elif status is not None:
                emit(CallbackDelivered(due.invocation_id, due.attempt, status, seconds))
        except DATABASE_ERRORS as error:  # the claim expires, and a listener tries again
            emit(DatabaseFailed("callbacks", str(error).strip(), "the callback will be tried again"))
        finally:
            self._under_way[due.project_id] -= 1
            if not self._under_way[due.project_id]:
                del self._under_way[due.project_id]
            self._wake.set()

    async def _outcome(self, due: Due) -> tuple[int | None, str | None, bool]:
        """Status code, error, and whether the error is final."""
        try:
            return await self._send(due)
        except DATABASE_ERRORS:
            raise
        except SealingError as error:
            return None, str(error), False
        except Exception as error:  # a fault of the platform counts as a try, so that tries come to an end
            emit(InternalError("a callback", error))
            return None, "internal error while sending", False

    async def _send(self, due: Due) -> tuple[int | None, str | None, bool]:
        if due.body is None:
            return None, "the invocation is not kept any more, or was retried", True
        body = due.body.encode()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "zMesh",
            **({"traceparent": due.traceparent} if due.traceparent else {}),
            **signed(await self._secrets(due), str(due.message_id), int(time.time()), body),
        }
        try:
            status = await post(due.url, headers, body, networks=self._networks, seconds=SECONDS_PER_TRY)
        except NotSent as error:
            return None, str(error), error.for_good
        if 200 <= status < 300:
            return status, None, True
        if 300 <= status < 400:
            return status, f"redirects are not followed (status {status})", False
        return status, f"the answer was {status}", status == GONE

    async def _secrets(self, due: Due) -> list[str]:
        purpose = signing_purpose(due.project_id)
        sealed = due.sealed_secret
        if sealed is None:
            fresh = self._sealer.seal(new_secret(), purpose)
            async with self._pool.connection() as connection:
                sealed = await callbacks.keep_secret(connection, due.project_id, fresh)
        return [self._sealer.open(one, purpose) for one in (sealed, due.sealed_previous_secret) if one is not None]


def signed(keys: Sequence[str], message_id: str, timestamp: int, body: bytes) -> Mapping[str, str]:
    """The headers of Standard Webhooks, with one signature for each secret."""
    signatures = [signature(key, message_id, str(timestamp), body) for key in keys]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{one}" for one in signatures),
    }
