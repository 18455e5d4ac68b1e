"""What a claim says of the next one, in its last row."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import psycopg
import pytest

from sql import listeners
from tests.databases import Database, Row
from tests.platform import eventually


def claim_round(database: Database, listener: UUID, slots: int = 4) -> tuple[list[Row], Row]:
    """The jobs, and the row behind them."""
    query = "select * from zmesh.claim_round(%s, %s, %s)"
    rows = database.rows(query, listener, slots, listeners._ANSWER, url=database.listener_url)
    return rows[:-1], rows[-1]


def test_a_claim_that_leaves_nothing_says_so(database: Database) -> None:
    project = database.project()
    database.function(project)
    listener = database.listener()
    jobs, last = claim_round(database, listener)
    assert (jobs, last["id"], last["waiting"], last["more"], last["seconds_to_next"]) == ([], None, True, False, None)
    database.enqueue(project, count=3)
    jobs, last = claim_round(database, listener)
    assert [job["attempt"] for job in jobs] == [1, 1, 1]
    assert (last["waiting"], last["more"]) == (True, False)


@pytest.mark.parametrize("columns", ["", f", {listeners._ANSWER - 1}", f", {listeners._ANSWER + 1}"])
def test_a_listener_of_another_version_claims_nothing(database: Database, columns: str) -> None:
    project = database.project()
    database.function(project)
    [queued] = database.enqueue(project)
    with pytest.raises(
        psycopg.errors.FeatureNotSupported, match="the listener and the database have different versions"
    ) as raised:
        database.rows(
            f"select * from zmesh.claim_round(%s, 4{columns})", database.listener(), url=database.listener_url
        )
    assert "Replace the listener" in (raised.value.diag.message_hint or "")
    assert database.value("select status from zmesh.queue where id = %s", queued) == "queued"


def test_a_listener_that_is_full_cannot_know_what_else_there_is(database: Database) -> None:
    """Nobody notifies it, so it has to claim when a run ends."""
    project = database.project()
    database.function(project)
    database.enqueue(project, count=4)
    jobs, last = claim_round(database, database.listener())
    assert (len(jobs), last["waiting"], last["more"]) == (4, False, True)


@pytest.mark.parametrize("limit", ["max_concurrency", "max_concurrency_per_key", "max_running"])
def test_a_claim_reports_invocations_that_a_limit_held_back(database: Database, limit: str) -> None:
    project = database.project()
    database.function(project, **({} if limit == "max_running" else {limit: 1}))
    if limit == "max_running":
        database.rows("update zmesh.projects set max_running = 1")
    database.enqueue(project, count=2, **({"concurrency_key": "a"} if limit == "max_concurrency_per_key" else {}))
    listener = database.listener()
    jobs, last = claim_round(database, listener)
    assert (len(jobs), last["waiting"], last["more"]) == (1, True, True)
    database.finish(listener, jobs[0])
    jobs, last = claim_round(database, listener)
    assert (len(jobs), last["waiting"], last["more"]) == (1, True, False)


def test_a_claim_reports_the_next_due_time_of_delayed_invocations(database: Database) -> None:
    project = database.project()
    database.function(project)
    database.stop_clock("2026-01-01 12:00Z")
    database.enqueue(project, run_at="2026-01-01 12:00:02.5Z")
    jobs, last = claim_round(database, database.listener())
    assert (jobs, last["more"], last["seconds_to_next"]) == ([], False, 2.5)


def test_a_claim_says_for_which_invocations_a_caller_waits(database: Database) -> None:
    project = database.project()
    database.function(project)
    database.enqueue(project)
    database.enqueue(project, reply_channel="zmesh_r_" + "0" * 32)
    jobs, _ = claim_round(database, database.listener())
    assert [job["waited"] for job in jobs] == [True, False]


def test_a_claim_that_waited_for_its_turn_reports_everything_inserted_meanwhile(database: Database) -> None:
    """It is claimed, though the statement that claims it began before it was there."""
    project = database.project()
    database.function(project)
    listener = database.listener()
    database.enqueue(project)
    with ThreadPoolExecutor(1) as thread, database.connect(database.admin_url) as other:
        with other.transaction():
            other.execute("select from zmesh.settings for update")
            claim = thread.submit(claim_round, database, listener)
            waiting = "select 1 from pg_locks l join pg_stat_activity using (pid) where datname = current_database()"
            eventually(lambda: database.rows(f"{waiting} and not l.granted"), "the claim's turn to wait")
            database.enqueue(project, reply_channel="zmesh_r_" + "0" * 32)
        jobs, _ = claim.result()
    assert [job["waited"] for job in jobs] == [True, False]
    assert all(job["queue_ms"] >= 0 for job in jobs)


def test_large_payloads_are_left_to_the_runs_that_need_them(database: Database) -> None:
    """All other claims wait for a claim, and a listener has as many payloads at once as slots."""
    project = database.project()
    database.function(project)
    text = "".join(map(str, range(100_000)))
    [id] = database.enqueue(project, payload=f'"{text}"')
    listener, other = database.listener(), database.listener()
    [job], _ = claim_round(database, listener)
    assert (job["payload"], job["request"]) == (None, None)
    query = "select payload::text, request::text from zmesh.payload_of(%s, %s, %s::smallint)"
    assert database.rows(query, listener, id, 1, url=database.listener_url) == [
        {"payload": f'"{text}"', "request": None}
    ]
    for asked in ((other, id, 1), (listener, id, 2)):
        [row] = database.rows(query, *asked, url=database.listener_url)
        assert row["payload"] is None


def test_a_payload_that_is_null_is_not_taken_for_a_large_one(database: Database) -> None:
    project = database.project()
    database.function(project)
    database.enqueue(project, payload="null")
    [job], _ = claim_round(database, database.listener())
    assert job["payload"] == "null"
