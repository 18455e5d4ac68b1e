"""What a listener does with the output of a build."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

import pytest

from listener import builds
from listener.builds import Builds
from listener.environments import LIGHT
from listener.masking import Masker
from sandbox import LogLine


class Recording(Masker):
    """Knows in which threads it masked."""

    def __init__(self) -> None:
        super().__init__(["a-secret"])
        self.threads: set[threading.Thread] = set()

    def masked(self, text: str) -> str:
        self.threads.add(threading.current_thread())
        return super().masked(text)


class NoPool:
    @asynccontextmanager
    async def connection(self) -> AsyncIterator[None]:
        yield


def test_much_output_is_masked_where_it_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, datetime, str]] = []

    async def tell(_: None, listener: UUID, build: UUID, lines: Sequence[tuple[int, datetime, str]]) -> bool:
        told.extend(lines)
        return True

    monkeypatch.setattr(builds.builds, "tell", tell)
    build = object.__new__(Builds)
    build._pool = cast(Any, NoPool())
    id, masker = UUID(int=1), Recording()
    printed = [LogLine(datetime.now(UTC), "info", f"a-secret {'x' * LIGHT}") for _ in range(2)]

    async def main() -> None:
        assert await build._tell_from(id, id, printed, masker, 0) == (2, True)

    asyncio.run(main())
    assert [(number, text[:5]) for number, _, text in told] == [(1, "*** x"), (2, "*** x")]
    assert threading.main_thread() not in masker.threads
