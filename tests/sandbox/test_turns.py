"""While somebody waits for runs, those in the background begin a few at a time; nobody is held up for long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from sandbox import Limits, RunOutcome, RunRequest, Sandbox
from sandbox.host import child, turns
from sandbox.host.turns import ProcessorShare, Turns

ENDLESS = "import time\ndef handler(payload, zmesh):\n    time.sleep(600)"
QUICK = "def handler(payload, zmesh):\n    return 'done'"
MS = 1_000_000  # nanoseconds


@pytest.fixture
def endless_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turns last as long as their runs."""
    monkeypatch.setattr(turns, "TURN_SECONDS", 3600.0)
    monkeypatch.setattr(turns, "AFTER_CALL_SECONDS", 3600.0)


async def hold(turns: Turns, count: int) -> AsyncExitStack:
    """So many runs that do not end; returns when all have begun."""
    begun = AsyncExitStack()
    async with asyncio.timeout(30):
        for _ in range(count):
            await begun.enter_async_context(turns.taken())
    return begun


@pytest.mark.usefixtures("endless_turns")
async def test_where_nobody_waits_all_begin_at_once() -> None:
    await (await hold(Turns(2), 10)).aclose()


@pytest.mark.usefixtures("endless_turns")
async def test_the_next_begins_when_one_ends() -> None:
    turns = Turns(2)
    turns.somebody_waits()
    runs = await hold(turns, 2)
    third = asyncio.create_task(hold(turns, 1))
    await asyncio.sleep(0.1)
    assert not third.done()
    await runs.aclose()
    await (await third).aclose()


async def test_no_run_holds_up_the_next_for_long() -> None:
    turns = Turns(2)
    turns.somebody_waits()
    await (await hold(turns, 10)).aclose()


async def test_no_run_holds_up_the_next_for_long_where_it_hardly_gets_a_processor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ProcessorShare, "now", lambda share: 0.0)
    monkeypatch.setattr(turns, "AFTER_CALL_SECONDS", 3600.0)
    held = Turns(2)
    held.somebody_waits()
    await (await hold(held, 10)).aclose()


@pytest.mark.usefixtures("endless_turns")
async def test_one_that_gives_up_waiting_takes_no_turn() -> None:
    turns = Turns(1)
    turns.somebody_waits()
    first = await hold(turns, 1)
    second = asyncio.create_task(hold(turns, 1))
    await asyncio.sleep(0)
    second.cancel()
    await first.aclose()
    await (await hold(turns, 1)).aclose()


def test_the_share_of_a_processor_is_what_the_kernel_says_of_this_thread(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told = tmp_path / "schedstat"
    monkeypatch.setattr(turns, "SCHEDULED", told)
    told.write_text("0 0 1\n")
    share = ProcessorShare()
    told.write_text(f"{10 * MS} 0 2\n")
    assert share.now() == 1
    told.write_text(f"{20 * MS} {30 * MS} 3\n")  # ran for 10 of 40 ms, before that all the time
    assert share.now() == (1 + 0.25) / 2
    told.unlink()
    assert ProcessorShare().now() == 1


@pytest_asyncio.fixture
async def sandbox(endless_turns: None) -> AsyncIterator[Sandbox]:
    sandbox = Sandbox(slots=16)
    await sandbox.start()
    yield sandbox
    await sandbox.close()


def run(sandbox: Sandbox, code: str, cancel: asyncio.Event, *, background: bool) -> asyncio.Task[RunOutcome]:
    limits = Limits(timeout_ms=60_000)
    request = RunRequest("python", code, "handler", "turns", "{}", limits=limits, background=background)
    return asyncio.create_task(sandbox.run(request, cancel))


async def test_a_run_that_somebody_waits_for_passes_those_in_the_background(sandbox: Sandbox) -> None:
    async with asyncio.timeout(60):
        await run(sandbox, QUICK, asyncio.Event(), background=False)
        cancel = asyncio.Event()
        background = [run(sandbox, ENDLESS, cancel, background=True) for _ in range(8)]
        await asyncio.sleep(0)
        assert (await run(sandbox, QUICK, asyncio.Event(), background=False)).result_json == '"done"'
        cancel.set()
        assert [(await task).status for task in background] == ["cancelled"] * 8


async def test_a_run_that_is_cancelled_before_its_turn_never_gets_its_job(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with asyncio.timeout(60):
        await run(sandbox, QUICK, asyncio.Event(), background=False)
        sent: list[str] = []
        monkeypatch.setattr(child.Child, "_send", lambda self, request, job: sent.append(request.code))
        first, second = asyncio.Event(), asyncio.Event()
        endless = [run(sandbox, ENDLESS, first, background=True) for _ in range(8)]
        late = run(sandbox, QUICK, second, background=True)
        second.set()
        await asyncio.sleep(0)
        first.set()
        assert (await late).status == "cancelled"
        assert QUICK not in sent
        await asyncio.gather(*endless)
