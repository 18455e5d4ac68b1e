"""Callbacks in the database: durable with the end of their invocation, claimed by one, retried and given up."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import psycopg
import pytest

from tests.databases import Database, Row, TestProject

URL = "https://example.org/ended?x=1"
FAILURE = '{"type": "E"}'


@pytest.fixture
def project(database: Database) -> TestProject:
    project = database.project()
    database.function(project)
    database.stop_clock("2026-01-05 12:00:00Z")
    return project


def ended(database: Database, project: TestProject, **outcome: Any) -> UUID:
    """An invocation with a callback that has ended."""
    [id] = database.enqueue(project, callback_url=URL)
    listener = database.listener()
    [job] = database.claim(listener)
    assert database.finish(listener, job, **outcome)
    return id


def claim(database: Database, limit: int = 10, busy: tuple[UUID, ...] = ()) -> list[Row]:
    query = "select * from zmesh.claim_callbacks(%s, %s::uuid[])"
    return database.rows(query, limit, list(busy), url=database.listener_url)


def end(database: Database, due: Row, status: int | None, error: str | None, for_good: bool = False) -> Row:
    database.rows(
        "select zmesh.end_callback(%s, %s, %s, %s, %s)",
        *(due["invocation_id"], due["attempt"], status, error, for_good),
        url=database.listener_url,
    )
    return database.row("select * from zmesh.callbacks where invocation_id = %s", due["invocation_id"])


def test_the_end_of_an_invocation_creates_a_callback_with_its_outcome(database: Database, project: TestProject) -> None:
    id = ended(database, project, result='{"a": 1}')
    [due] = claim(database)
    assert (due["invocation_id"], due["url"], due["attempt"]) == (id, URL, 1)
    body = json.loads(due["body"])
    assert body["type"] == "invocation.success"
    assert body["data"]["result"] == {"a": 1}
    assert (body["data"]["invocation_id"], body["data"]["left_out"]) == (str(id), False)
    assert claim(database) == []


def test_a_retried_attempt_or_an_invocation_without_callback_url_has_no_callback(
    database: Database, project: TestProject
) -> None:
    [id] = database.enqueue(project, callback_url=URL)
    database.enqueue(project)
    listener = database.listener()
    for job in database.claim(listener):
        database.finish(listener, job, "error" if job["id"] == id else "success", error=FAILURE)
    assert claim(database) == []


def test_there_is_nothing_to_send_of_an_invocation_that_is_not_kept(database: Database, project: TestProject) -> None:
    ended(database, project)
    database.rows("delete from zmesh.history")
    [due] = claim(database)
    assert due["body"] is None


def test_a_callback_that_is_still_due_when_its_invocation_is_retried_waits_for_the_next_end(
    database: Database, project: TestProject
) -> None:
    id = ended(database, project, status="cancelled", error=FAILURE)
    database.rows("select zmesh.retry(%s::uuid[])", [id])
    [due] = claim(database)
    assert due["body"] is None
    end(database, due, None, "the invocation is not kept any more, or was retried", for_good=True)
    listener = database.listener()
    [job] = database.claim(listener)
    assert database.finish(listener, job)
    [due] = claim(database)
    assert json.loads(due["body"])["type"] == "invocation.success"


def test_an_unreported_callback_is_tried_again_and_a_late_result_is_ignored(
    database: Database, project: TestProject
) -> None:
    ended(database, project)
    [first] = claim(database)
    database.stop_clock("2026-01-05 12:01:01Z")
    [second] = claim(database)
    assert (second["attempt"], second["message_id"]) == (2, first["message_id"])
    assert end(database, first, 200, None)["status"] == "pending"
    delivered = end(database, second, 200, None)
    assert (delivered["status"], delivered["attempts"], delivered["last_status_code"]) == ("delivered", 2, 200)
    assert end(database, second, 500, "no")["status"] == "delivered"


def test_callbacks_are_retried_less_and_less_often_and_finally_given_up(
    database: Database, project: TestProject
) -> None:
    ended(database, project)
    waits = []
    for _ in range(12):
        database.rows("update zmesh.callbacks set next_attempt_at = zmesh.now()")
        [due] = claim(database)
        row = end(database, due, 503, "the answer was 503")
        if row["next_attempt_at"] is not None:
            waits.append((row["next_attempt_at"] - row["created_at"]).total_seconds())
    assert (row["status"], row["last_error"]) == ("failed", "the answer was 503")
    assert len(waits) == 11
    assert all(0.75 * usual <= wait <= 1.25 * usual for wait, usual in zip(waits, [5, 20, 80], strict=False))
    assert max(waits) <= 1.25 * 21600


def test_a_callback_that_is_never_reported_is_finally_given_up(database: Database, project: TestProject) -> None:
    id = ended(database, project)
    for _ in range(12):
        assert len(claim(database)) == 1
        database.rows("update zmesh.callbacks set next_attempt_at = zmesh.now()")
    assert claim(database) == []
    assert database.row("select status from zmesh.callbacks where invocation_id = %s", id)["status"] == "failed"


def test_a_permanently_failed_callback_is_given_up_at_once(database: Database, project: TestProject) -> None:
    ended(database, project)
    [due] = claim(database)
    assert end(database, due, 410, "the answer was 410", for_good=True)["status"] == "failed"


def test_projects_with_enough_callbacks_in_progress_are_left_out(database: Database, project: TestProject) -> None:
    ended(database, project)
    assert claim(database, busy=(project.id,)) == []
    assert len(claim(database)) == 1


def test_a_large_result_is_left_out(database: Database, project: TestProject) -> None:
    ended(database, project, result=json.dumps("x" * 1_100_000))
    [due] = claim(database)
    data = json.loads(due["body"])["data"]
    assert (data["result"], data["left_out"]) == (None, True)


def test_a_retried_dead_invocation_sends_another_callback(database: Database, project: TestProject) -> None:
    [id] = database.enqueue(project, callback_url=URL, max_attempts=1)
    listener = database.listener()
    messages = []
    for status in ("error", "success"):
        [job] = database.claim(listener)
        database.finish(listener, job, status, error=FAILURE if status == "error" else None)
        [due] = claim(database)
        messages.append(due["message_id"])
        assert json.loads(due["body"])["data"]["status"] == status
        end(database, due, 200, None)
        database.rows("select zmesh.retry(array[%s::uuid])", id)
    assert len(set(messages)) == 2


@pytest.mark.parametrize(
    "url",
    [
        *("", "ftp://example.org/", "http://", "https:///x", "https://user:pass@example.org/", "http://a b/"),
        *("https://example.org/\r\nX: y", "javascript:alert(1)", "https://example.org/" + "a" * 2000),
        "https://evil.org\\@example.org/",
    ],
)
def test_only_plain_addresses_are_taken(database: Database, project: TestProject, url: str) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        database.enqueue(project, callback_url=url)


@pytest.mark.parametrize(
    "statement",
    [
        "update zmesh.callbacks set url = 'https://elsewhere.example/'",
        "select * from zmesh.signing_secrets",
        "select * from zmesh.claim_callbacks(1, '{}')",
    ],
)
def test_a_project_sees_its_own_callbacks_only_and_no_secret(
    database: Database, project: TestProject, statement: str
) -> None:
    ended(database, project)
    other = database.project("blog")
    assert len(database.rows("select * from zmesh.callbacks", url=project.url)) == 1
    assert database.rows("select * from zmesh.callbacks", url=other.url) == []
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        database.rows(statement, url=project.url)


def test_old_callbacks_are_deleted(database: Database, project: TestProject) -> None:
    ended(database, project)
    database.stop_clock("2026-03-05 12:00:00Z")
    database.rows("select zmesh.delete_rest()")
    assert database.rows("select * from zmesh.callbacks") == []
