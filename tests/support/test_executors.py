"""Long work makes room for short calls of its kind."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref

import pytest

from api.http.json_bodies import PARSING
from api.invoking.payloads import _payload
from support import executors
from support.executors import SHORT_SECONDS, Executor, breathe


def busy_for(seconds: float) -> str:
    """Uses a processor for so long, and says in which thread it ended."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        breathe()
    return threading.current_thread().name.partition("_")[0]


async def test_work_that_takes_long_goes_on_where_it_keeps_no_short_call_waiting() -> None:
    short = Executor("short", 1, at_length=Executor("long", 1))
    long_ones = [asyncio.create_task(short.run(busy_for, 4 * SHORT_SECONDS)) for _ in range(3)]
    await asyncio.sleep(0)
    assert await short.run(busy_for, 0.0) == "short"
    assert not long_ones[-1].done()
    assert await asyncio.gather(*long_ones) == ["long"] * 3
    assert await short.run(busy_for, 0.0) == "short"


class Body:
    """What a request brought."""


def refuse(_: Body) -> None:
    raise LookupError("refused")


async def test_what_failing_work_was_given_is_freed_without_a_garbage_collection() -> None:
    """Refused bodies stayed in memory until a full one, five minutes under load."""
    body = Body()
    kept = weakref.ref(body)
    gc.disable()
    try:
        with pytest.raises(LookupError):
            await Executor("short", 1).run(refuse, body)
        del body
        await asyncio.sleep(0)
        assert kept() is None
    finally:
        gc.enable()


TEXTS = {
    "exponents": (b'["' + b"1e9999," * 100_000 + b'"]', "application/json"),
    "escapes": (b'["' + b"\\\\u0000" * 100_000 + b'"]', "application/json"),
    "form": (b"a=" + b"%41" * 200_000, "application/x-www-form-urlencoded"),
    "controls": (b"\x01" * 300_000, "text/plain"),
}


@pytest.mark.parametrize("kind", TEXTS)
async def test_reading_what_takes_long_leaves_the_threads_for_the_rest(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seven megabytes of exponents took one and a half seconds of them."""
    monkeypatch.setattr(executors, "SHORT_SECONDS", 0.0)

    def where() -> str:
        assert _payload(*TEXTS[kind])
        return threading.current_thread().name.partition("_")[0]

    assert await PARSING.run(where) == "parsing at length"
