"""When a listener claims: whenever something may have become due, and not where nothing can have.

Polls are off here, so that what starts was claimed for its reason.
"""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest
from psycopg import AsyncConnection

from listener import claims
from sandbox import RunError, RunOutcome, RunRequest
from sandbox.host.streams import Sink
from sql import listeners
from sql.listeners import ClaimRound
from tests.databases import Database
from tests.listener.conftest import Running, ScriptedSandbox, eventually
from tests.listener.test_service import ended, owners

NEVER = 3600.0
REAL_CLAIM = listeners.claim


@pytest.fixture(autouse=True)
def no_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "POLLS_SECONDS", (NEVER,))
    monkeypatch.setattr(claims, "GIVE_BACK_SECONDS", NEVER)


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> list[ClaimRound]:
    """What the claims have found."""
    found: list[ClaimRound] = []

    async def claim(connection: AsyncConnection, listener: UUID, slots: int) -> ClaimRound:
        found.append(await REAL_CLAIM(connection, listener, slots))
        return found[-1]

    monkeypatch.setattr(listeners, "claim", claim)
    return found


async def settled(database: Database, rounds: list[ClaimRound]) -> None:
    """The listener has claimed, found nothing, and waits."""
    await eventually(lambda: owners(database) == 1 and rounds, "the first claim")
    await eventually(lambda: database.value("select bool_and(waiting) from zmesh.listeners"), "its wait")
    await asyncio.sleep(0.2)  # the claim that the start of listening asks for


async def test_a_call_with_nothing_queued_behind_it_costs_one_claim(
    database: Database, running: Running, rounds: list[ClaimRound]
) -> None:
    project = database.project()
    database.function(project)
    async with running():
        await settled(database, rounds)
        rounds.clear()
        for _ in range(5):
            ids = database.enqueue(project)
            await eventually(lambda ids=ids: ended(database, ids), "its end")  # type: ignore[misc]
        claimed = [len(found.invocations) for found in rounds]
        assert [count for count in claimed if count] == [1] * 5
        assert len(claimed) <= 6, "one that the start of listening asked for may come late"


async def test_what_waits_for_a_slot_starts_when_one_gets_free(
    database: Database, running: Running, rounds: list[ClaimRound]
) -> None:
    project = database.project()
    database.function(project)
    async with running(slots=2):
        await settled(database, rounds)
        ids = database.enqueue(project, count=9)
        await eventually(lambda: ended(database, ids), "the ends")


async def test_what_a_limit_holds_back_starts_when_the_run_before_it_ends(
    database: Database, running: Running, rounds: list[ClaimRound], sandbox: ScriptedSandbox
) -> None:
    project = database.project()
    database.function(project, max_concurrency=1)
    async with running(slots=4):
        await settled(database, rounds)
        ids = database.enqueue(project, count=5)
        await eventually(lambda: ended(database, ids), "the ends")
    assert sandbox.most_at_once == 1


async def test_what_is_inserted_while_a_claim_is_under_way_is_claimed_next(
    database: Database, running: Running, rounds: list[ClaimRound], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = database.project()
    database.function(project)
    late: list[UUID] = []

    async def claim(connection: AsyncConnection, listener: UUID, slots: int) -> ClaimRound:
        found = await REAL_CLAIM(connection, listener, slots)
        if found.invocations and not late:  # committed after the claim has looked, notified before its answer is here
            late.extend(await asyncio.to_thread(database.enqueue, project))
            await asyncio.sleep(0.3)
        rounds.append(found)
        return found

    async with running():
        await settled(database, rounds)
        monkeypatch.setattr(listeners, "claim", claim)
        first = database.enqueue(project)
        await eventually(lambda: late and ended(database, [*first, *late]), "both ends")


async def test_a_retry_comes_due_by_a_timer(
    database: Database, running: Running, rounds: list[ClaimRound], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = database.project()
    database.function(project, retry_base_ms=300, retry_max_ms=300)

    async def run(sandbox: ScriptedSandbox, request: RunRequest, cancel: asyncio.Event, sink: Sink) -> RunOutcome:
        sandbox.runs.append(request)
        if len(sandbox.runs) == 1:
            return RunOutcome("error", None, None, RunError("ValueError", "not yet"), [], 1, 1, 1)
        return RunOutcome("success", request.payload_json, None, None, [], 1, 1, 1)

    monkeypatch.setattr(ScriptedSandbox, "run", run)
    async with running():
        await settled(database, rounds)
        ids = database.enqueue(project)
        await eventually(lambda: ended(database, ids), "its second end")
    assert database.invocation(ids[0])["attempt"] == 2


async def test_a_delayed_invocation_comes_due_by_a_timer_even_while_others_run(
    database: Database, running: Running, rounds: list[ClaimRound]
) -> None:
    project = database.project()
    database.function(project)
    async with running():
        await settled(database, rounds)
        later = "clock_timestamp() + interval '500 milliseconds'"
        query = f"insert into zmesh.invocations (function, run_at) values ('greet', {later}) returning id"
        delayed = database.value(query, url=project.url)
        at_once = database.enqueue(project)
        await eventually(lambda: ended(database, [*at_once, delayed]), "both ends")
