"""Processes are parked where runs are asked for: more of them while many are, few again afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from sandbox import Language, RunRequest, Sandbox
from sandbox.host import parking

CODE: dict[Language, str] = {
    "python": "import time\ndef handler(payload, zmesh):\n    time.sleep(0.2)",
    "javascript": "exports.handler = () => new Promise((done) => setTimeout(done, 200))",
}


@pytest_asyncio.fixture
async def sandbox(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sandbox]:
    monkeypatch.setattr(parking, "CALM_SECONDS", 4.0)
    sandbox = Sandbox(slots=8)
    await sandbox.start()
    yield sandbox
    await sandbox.close()


def parked(sandbox: Sandbox, language: Language) -> int:
    return sandbox._parking.alive("python" if language == "python" else "node")


async def until_parked(sandbox: Sandbox, language: Language, count: int) -> None:
    async with asyncio.timeout(30):
        while parked(sandbox, language) != count:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("language", ["python", "javascript"])
async def test_more_are_parked_while_many_are_asked_for_and_few_again_when_nobody_asks(
    sandbox: Sandbox, language: Language
) -> None:
    request = RunRequest(language, CODE[language], "handler", "busy", "{}")
    await sandbox.run(request)
    await until_parked(sandbox, language, parking.LEAST_PARKED)
    outcomes = await asyncio.gather(*(sandbox.run(request) for _ in range(8)))
    assert [outcome.status for outcome in outcomes] == ["success"] * 8
    await until_parked(sandbox, language, parking.MOST_PARKED)
    await until_parked(sandbox, language, parking.LEAST_PARKED)
    assert (await sandbox.run(request)).status == "success"
