"""How an end reaches the API that waits: inside the notification where there is room, else by reading the row."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from api.invoking.waiting import read_answer
from sql.invocations import InvocationState
from tests.api.client import Api, standing_in
from tests.databases import Database, TestProject

CHANNEL = f"zmesh_r_{'0' * 32}"
QUEUED = """insert into zmesh.invocations (project_id, function, source, reply_channel) values (%s, 'greet', 'api', %s)
            returning id"""
STORED = """select id, status, version, duration_ms, zmesh.queue_ms(created_at, run_at, started_at)::float8 as queue_ms,
                   zmesh.start_ms(started_at, finished_at, duration_ms)::float8 as start_ms,
                   result::text, error::text, response::text
              from zmesh.invocations where id = %s"""


def notified(
    database: Database, project: TestProject, channel: str = CHANNEL, **end: Any
) -> tuple[InvocationState, str]:
    """The row of an invocation that ended like this, and what was notified on its channel."""
    listener = database.listener()
    with psycopg.connect(database.admin_url, autocommit=True) as waiting:
        waiting.execute(f"listen {channel}")
        id = database.value(QUEUED, project.id, channel, url=database.api_url)
        [job] = database.claim(listener)
        assert database.finish(listener, job, **end)
        [notification] = waiting.notifies(timeout=10, stop_after=1)
    return InvocationState(**database.row(STORED, id)), notification.payload


@pytest.fixture
def project(database: Database) -> TestProject:
    project = database.project()
    database.function(project)
    return project


@pytest.mark.parametrize(
    "end",
    [
        {"result": '{"b":1,  "a": [1.50, 1e30], "text": "\\u0000 é"}'},
        {"status": "error", "result": None, "error": '{"type": "TypeError", "message": "ü", "stack": null}'},
        {"result": None, "response": '{"status": 204, "headers": {}, "body_base64": ""}'},
        {"result": json.dumps("é" * 3800, ensure_ascii=False)},
    ],
)
def test_a_short_end_comes_inside_the_notification(database: Database, project: TestProject, end: Any) -> None:
    stored, payload = notified(database, project, **end)
    assert payload[:36] == str(stored.id)
    assert read_answer(stored.id, payload[36:]) == stored


@pytest.mark.parametrize("letters", [3950, 4000, 100_000])
def test_an_end_that_is_too_long_in_bytes_is_announced_only(
    database: Database, project: TestProject, letters: int
) -> None:
    stored, payload = notified(database, project, result=json.dumps("é" * letters, ensure_ascii=False))
    assert payload == str(stored.id)
    assert read_answer(stored.id, payload[36:]) is None


def test_a_channel_that_a_function_chose_carries_no_answer(database: Database, project: TestProject) -> None:
    stored, payload = notified(database, project, channel=f"zmesh_i_{'0' * 32}", result="1")
    assert payload == str(stored.id)


@pytest.mark.parametrize(
    "payload",
    [
        "",
        "{",
        "[]",
        "nonsense",
        '{"id": 1}',
        '{"status": "success"}',
        '{"status": "queued", "version": 1, "duration_ms": 1, "result": 1, "error": null, "response": 1}',
        '{"status": "error", "version": "1", "duration_ms": 1, "result": 1, "error": 1, "response": 1}',
    ],
)
def test_a_notification_that_is_not_an_outcome_is_ignored(payload: str) -> None:
    assert read_answer(uuid4(), payload) is None


@pytest.mark.parametrize("result", ['"\\ud800"', "[" * 3000 + "]" * 3000])
def test_a_result_that_we_cannot_parse_is_read_from_its_row(api: Api, result: str) -> None:
    api.deploy()
    with standing_in(api, lambda _: {"status": "success", "result": result}):
        assert result in api.invoke().text


def test_no_project_can_find_out_a_channel(api: Api) -> None:
    """Neither from who waits, nor from the sessions that listen, nor from the invocations themselves."""
    api.deploy()
    with psycopg.connect(api.project.url, autocommit=True) as connection:
        listening = api.database.value(
            "select count(*)::int from pg_stat_activity where query ~ '^listen .*zmesh_[rs]_'"
        )
        assert listening >= 1
        shown = connection.execute("select query from pg_stat_activity").fetchall()
        assert not [query for (query,) in shown if query and ("zmesh_r_" in query or "zmesh_s_" in query)]
        assert connection.execute("select pg_listening_channels()").fetchall() == []
        connection.execute("insert into zmesh.invocations (function, reply_channel) values ('greet', %s)", [CHANNEL])
        assert connection.execute("select reply_channel from zmesh.invocations").fetchall() == [(None,)]
    readers = api.database.rows(
        "select rolname from pg_roles where has_table_privilege(rolname, 'zmesh.waiters', 'select, update, delete')"
        " and not rolsuper and rolname not like 'pg\\_%%'"
        # A server keeps its roles for all of its databases: those of a project are told by what they may do here.
    )
    assert {row["rolname"] for row in readers} <= {"zmesh_owner"}
