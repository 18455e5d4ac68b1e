"""The path of a log line: a run prints it, and sandbox/host/logs.py appends it to the lines of its RunRequest.

While the attempt runs, LiveLogs writes new lines every 0.4 seconds, so that users can follow them and they outlive this
listener. The remaining lines are written with the outcome. All go through `numbered`, which masks secrets.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from psycopg_pool import AsyncConnectionPool

from listener.environments import Environment, off_the_loop
from listener.postgres import DATABASE_ERRORS, is_permanent
from observing.events import DatabaseFailed
from observing.stream import emit
from sandbox import LogLine
from sql import listeners
from sql.listeners import ClaimedInvocation, NewLogLine

PAUSE_SECONDS = 0.4
LARGEST_BATCH = 2000
MOST_CHARACTERS = 4 * 1024 * 1024  # in a statement, unless one log alone has more


@dataclass(slots=True)
class LiveLog:
    """What one attempt has printed, and how many of its lines are written."""

    invocation: ClaimedInvocation
    environment: Environment
    lease: UUID
    lines: list[LogLine]
    written: int = 0

    async def unwritten(self, most: int) -> list[NewLogLine]:
        """The next lines to write, numbered from 1."""
        start = self.written
        lines = self.lines[start : start + most]
        return await off_the_loop(sum(len(line.message) for line in lines), self._shown, lines, start)

    def _shown(self, lines: list[LogLine], before: int) -> list[NewLogLine]:
        return [
            NewLogLine(self.invocation.id, self.invocation.attempt, number, line.at, line.level, message)
            for number, line, message in numbered(lines, before, self.environment)
        ]


Part = tuple[LiveLog, list[NewLogLine]]


def numbered(lines: Sequence[LogLine], before: int, environment: Environment) -> Iterator[tuple[int, LogLine, str]]:
    """Each line with its number, continuing after `before`, and its message in storable form, with secrets masked."""
    for number, line in enumerate(lines, before + 1):
        yield number, line, environment.shown(line.message)


class LiveLogs:
    """The logs of the attempts that run here. Short runs end before the next round, and cost nothing."""

    def __init__(self, pool: AsyncConnectionPool) -> None:
        self._pool = pool
        self._logs: dict[int, LiveLog] = {}

    @contextmanager
    def of(
        self, invocation: ClaimedInvocation, environment: Environment, lease: UUID, lines: list[LogLine]
    ) -> Iterator[LiveLog]:
        """Write new entries of `lines` until the block ends."""
        live = LiveLog(invocation, environment, lease, lines)
        self._logs[id(live)] = live
        try:
            yield live
        finally:
            del self._logs[id(live)]

    async def run(self) -> None:
        """Write new lines at intervals, forever."""
        while True:
            await asyncio.sleep(PAUSE_SECONDS)
            by_lease: dict[UUID, list[LiveLog]] = defaultdict(list)
            for live in self._logs.values():
                if live.written < len(live.lines):
                    by_lease[live.lease].append(live)
            for lease, logs in by_lease.items():
                await self._write(lease, logs)

    async def _write(self, lease: UUID, logs: list[LiveLog]) -> None:
        """Some lines of each log: the rest waits for the next round, so that one that floods does not delay others."""
        most = max(1, LARGEST_BATCH // len(logs))
        # All at once: a log that takes long to mask delays the others once, instead of each taking its turn.
        unwritten = await asyncio.gather(*(live.unwritten(most) for live in logs))
        for parts in in_statements(list(zip(logs, unwritten, strict=True))):
            if not await self._write_parts(lease, parts):
                return

    async def _write_parts(self, lease: UUID, parts: Sequence[Part]) -> bool:
        """Write them in one statement; False if the next round should try again."""
        try:
            async with self._pool.connection() as connection:
                await listeners.append_logs(connection, lease, [line for _, lines in parts for line in lines])
        except DATABASE_ERRORS as error:
            emit(DatabaseFailed("log lines", str(error).strip()))
            if not is_permanent(error):
                return False
        for live, lines in parts:
            live.written += len(lines)
        return True


def in_statements(parts: Sequence[Part]) -> Iterator[Sequence[Part]]:
    """Parts that are written together: many large ones at once would block the event loop."""
    together, characters = list[Part](), 0
    for part in parts:
        size = sum(len(line.message) for line in part[1])
        if together and characters + size > MOST_CHARACTERS:
            yield together
            together, characters = [], 0
        together.append(part)
        characters += size
    if together:
        yield together
