"""Who holds an event loop is noticed, and named."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from observing.events import EventLoopBlocked
from observing.stream import emit
from support.executors import Busy, Executor
from support.loop_watch import BEAT_SECONDS, LIMIT_MS, LoopWatch


@pytest.fixture
async def watch() -> AsyncIterator[LoopWatch]:
    watch = LoopWatch(lambda ms, stacks: emit(EventLoopBlocked(ms, stacks)))
    watch.start()
    await asyncio.sleep(3 * BEAT_SECONDS)
    yield watch
    watch.stop()


async def after_a_beat(watch: LoopWatch, caplog: pytest.LogCaptureFixture) -> str:
    """The log line about the hold that was just over."""
    while watch.recent_ms <= LIMIT_MS:
        await asyncio.sleep(BEAT_SECONDS)
    return caplog.records[-1].getMessage()


def hold(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


async def test_code_that_computes_on_the_loop_is_named(watch: LoopWatch, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        hold(0.3)
        line = await after_a_beat(watch, caplog)
    assert re.search(r"event loop blocked for \d+ ms by \[MainThread\] .*test_loop_watch\.py:\d+ hold", line)
    assert watch.longest_ms == watch.recent_ms


async def test_code_that_blocks_the_loop_is_named(watch: LoopWatch, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        time.sleep(0.3)
        line = await after_a_beat(watch, caplog)
    assert "test_code_that_blocks_the_loop_is_named" in line


async def test_a_thread_that_keeps_the_interpreter_is_noticed(watch: LoopWatch) -> None:
    text = "[" + "[]," * 3_000_000 + "1]"
    with ThreadPoolExecutor(1) as threads:  # parsing is one call into C, which lets nobody else run
        work = [threads.submit(json.loads, text) for _ in range(4)]
        while not all(future.done() for future in work):
            await asyncio.sleep(BEAT_SECONDS)
    await asyncio.sleep(2 * BEAT_SECONDS)
    assert watch.longest_ms > LIMIT_MS


async def test_what_a_full_executor_cannot_take_is_refused() -> None:
    executor = Executor("testing", 1, most_waiting=2)
    first, second = (asyncio.create_task(executor.run(time.sleep, 0.05)) for _ in range(2))
    await asyncio.sleep(0)
    with pytest.raises(Busy, match="testing"):
        await executor.run(time.sleep, 0)
    await asyncio.gather(first, second)
    await executor.run(time.sleep, 0)
