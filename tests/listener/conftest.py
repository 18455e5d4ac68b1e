"""A listener in this process, whose sandbox is a script of the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from listener.main import connection_pool
from listener.service import Listener
from listener.settings import Settings
from sandbox import RunOutcome, RunRequest
from sandbox.host.streams import Sink
from sandbox.model import Report
from tests.databases import Database


class ScriptedSandbox:
    """Runs nothing: every run waits for `allowed` and then returns its payload; a cancelled one ends as cancelled."""

    def __init__(self) -> None:
        self.allowed = asyncio.Event()
        self.allowed.set()
        self.runs: list[RunRequest] = []
        self.cancelled = 0
        self.most_at_once = 0
        self._now = 0

    def report(self) -> Report:
        return Report("reduced", "scripted", ["nothing runs"], "started")

    async def run(self, request: RunRequest, cancel: asyncio.Event, sink: Sink) -> RunOutcome:
        self.runs.append(request)
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        waits = [asyncio.create_task(event.wait()) for event in (self.allowed, cancel)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        self._now -= 1
        if cancel.is_set():
            self.cancelled += 1
            return RunOutcome("cancelled", None, None, None, [], 1, 1, 1)
        return RunOutcome("success", request.payload_json, None, None, [], 1, 1, 1)


Running = Callable[..., AbstractAsyncContextManager[Listener]]


@pytest.fixture
def sandbox() -> ScriptedSandbox:
    return ScriptedSandbox()


@pytest.fixture
def running(database: Database, sandbox: ScriptedSandbox) -> Running:
    """Runs a listener while the block lasts; leaving the block stops it as SIGTERM does."""

    @asynccontextmanager
    async def run(**values: object) -> AsyncIterator[Listener]:
        settings = Settings.model_validate(
            {"database_url": database.listener_url, "secret_key": database.secret_key, "slots": 4, **values}
        )
        stop = asyncio.Event()
        async with connection_pool(settings.database_url) as pool:
            listener = Listener(settings, sandbox, pool)  # type: ignore[arg-type]
            work = asyncio.create_task(listener.run(stop))
            try:
                yield listener
            finally:
                stop.set()
                await work

    return run


async def eventually(found: Callable[[], object], what: str) -> None:
    """Return once it is true; the test's own time limit ends a wait in vain."""
    for _ in range(2000):
        if await asyncio.to_thread(found):
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"waited in vain for {what}")
