"""Notifications are hints: they wake the listener earlier, and nothing is lost without them."""

from __future__ import annotations

import asyncio

import psycopg
from psycopg import AsyncConnection, sql

from observing.events import DatabaseFailed
from observing.stream import emit
from sql.builds import BUILDS_CHANNEL
from sql.callbacks import CALLBACKS_CHANNEL
from sql.connecting import KEEPALIVE_OPTIONS, with_required_auth
from sql.listeners import CANCEL_CHANNEL, QUEUE_CHANNEL
from sql.streams import STREAMS_CHANNEL

LONGEST_BACKOFF = 5.0


class Wakeups:
    """Sets `queue`, `cancels`, `callbacks`, `streams` and `builds` when the database notifies. The payload of a
    notification is never read: everybody who may connect can send one."""

    def __init__(self, database_url: str) -> None:
        self.queue = asyncio.Event()
        self.cancels = asyncio.Event()
        self.callbacks = asyncio.Event()
        self.streams = asyncio.Event()
        self.builds = asyncio.Event()
        self._events = {
            QUEUE_CHANNEL: self.queue,
            CANCEL_CHANNEL: self.cancels,
            CALLBACKS_CHANNEL: self.callbacks,
            STREAMS_CHANNEL: self.streams,
            BUILDS_CHANNEL: self.builds,
        }
        self._database_url = database_url

    async def run(self) -> None:
        """Listen forever, across any number of lost connections."""
        backoff = 0.1
        while True:
            try:
                async with await AsyncConnection.connect(
                    with_required_auth(self._database_url),
                    autocommit=True,
                    **{**KEEPALIVE_OPTIONS, "application_name": "zmesh listener wake-ups"},
                ) as connection:
                    for channel in self._events:
                        await connection.execute(sql.SQL("listen {}").format(sql.Identifier(channel)))
                    backoff = 0.1
                    for event in self._events.values():
                        event.set()  # for notifications that were missed while disconnected
                    async for notification in connection.notifies():
                        self._events[notification.channel].set()
            except (psycopg.Error, OSError) as error:
                emit(DatabaseFailed("wake-ups", str(error).strip(), "polling until the connection is back"))
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, LONGEST_BACKOFF)
