"""Invoking by plain SQL as the project's role: inserts of every kind, what can be read back, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.databases import Database, Row, TestProject


@pytest.fixture
def project(database: Database) -> TestProject:
    """A project with the function greet."""
    project = database.project()
    database.function(project)
    return project


@pytest.fixture
def neighbour(database: Database) -> TestProject:
    """Another project, with a function, a run that printed something and one that failed."""
    project = database.project("neighbour")
    database.function(project, "secret")
    listener = database.listener()
    for status in ("success", "error"):
        database.enqueue(project, "secret", payload='{"word": "theirs"}', idempotency_key=status, max_attempts=1)
        [job] = database.claim(listener)
        logs = '[{"at": "2026-01-01", "level": "info", "message": "theirs"}]'
        database.finish(listener, job, status, result='"theirs"', logs=logs, error='{"type": "E", "message": "theirs"}')
    database.enqueue(project, "secret", payload='{"word": "theirs"}')
    return project


def sql(database: Database, project: TestProject, statement: str, *values: Any) -> list[Row]:
    return database.rows(statement, *values, url=project.url)


def test_one_insert_answers_with_the_id_and_what_was_filled_in(database: Database, project: TestProject) -> None:
    [made] = sql(
        database,
        project,
        "insert into zmesh.invocations (function) values ('greet') returning id, status, payload, source, project_id",
    )
    assert (made["status"], made["payload"], made["source"]) == ("queued", {}, "sql")
    assert made["project_id"] == project.id
    assert database.invocation(made["id"])["max_attempts"] == 3


def test_many_rows_of_one_insert_and_of_a_select_keep_their_order(database: Database, project: TestProject) -> None:
    made = sql(
        database,
        project,
        "insert into zmesh.invocations (function, payload)"
        " select 'greet', jsonb_build_object('n', n) from generate_series(1, 2000) n order by n returning id",
    )
    made += sql(
        database,
        project,
        "insert into zmesh.invocations (function, payload) values ('greet', '2001'), ('greet', '[2002]') returning id",
    )
    assert len({row["id"] for row in made}) == 2002
    found = sql(database, project, "select payload from zmesh.invocations where payload ? 'n' order by run_at, id")
    assert len(found) == 2000


def test_one_bad_row_refuses_them_all(database: Database, project: TestProject) -> None:
    with pytest.raises(psycopg.Error, match='function "nobody" does not exist in this project'):
        sql(database, project, "insert into zmesh.invocations (function) values ('greet'), ('nobody')")
    assert sql(database, project, "select id from zmesh.invocations") == []


def test_everything_about_one_invocation_can_be_said_in_its_insert(database: Database, project: TestProject) -> None:
    at = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    values = {
        "run_at": at,
        "expires_at": at + timedelta(hours=1),
        "priority": 7,
        "max_attempts": 5,
        "retry_base_ms": 10,
        "retry_max_ms": 1000,
        "idempotency_key": "k",
        "concurrency_key": "c",
    }
    [id] = database.enqueue(project, **values)
    [found] = sql(database, project, f"select {', '.join(values)}, due from zmesh.invocations where id = %s", id)
    assert found == {**values, "due": False}


def test_results_logs_and_the_dead_are_there_to_read(database: Database, project: TestProject) -> None:
    database.enqueue(project)
    database.enqueue(project, max_attempts=1)
    listener = database.listener()
    good, bad = database.claim(listener)
    logs = '[{"at": "2026-01-01", "level": "info", "message": "hello"}]'
    database.finish(listener, good, result='{"a": 1}', logs=logs)
    database.finish(listener, bad, "error", error='{"type": "E", "message": "no", "stack": null}')
    [read] = sql(
        database,
        project,
        "select i.result, i.status, l.level, l.message from zmesh.invocations i"
        " join zmesh.logs l on l.invocation_id = i.id",
    )
    assert read == {"result": {"a": 1}, "status": "success", "level": "info", "message": "hello"}
    assert [row["id"] for row in sql(database, project, "select id from zmesh.dead_invocations")] == [bad["id"]]
    assert [row["slug"] for row in sql(database, project, "select slug from zmesh.own_functions")] == ["greet"]


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"function": "nobody"}, "ZM404", 'function "nobody" does not exist in this project'),
    ({"function": "secret"}, "ZM404", 'function "secret" does not exist in this project'),
    ({"function": None}, "ZM404", "an insert has to name the function"),
    ({"payload": "{not json"}, "22P02", "invalid input syntax for type json"),
    ({"payload": None}, "23502", 'null value in column "payload"'),
    ({"payload": '"' + "x" * 8_388_607 + '"'}, "23514", "the payload is larger than 8 MiB"),
    ({"priority": 101}, "23514", "invocations_priority_is_small"),
    ({"max_attempts": 0}, "23514", "invocations_max_attempts_is_1_to_100"),
    ({"idempotency_key": ""}, "23514", "invocations_idempotency_key_is_short"),
    ({"concurrency_key": "x" * 256}, "23514", "invocations_concurrency_key_is_short"),
    ({"run_at": "infinity"}, "23514", "run_at infinity is out of range"),
    ({"run_at": "20000-01-01"}, "23514", "is out of range"),
    ({"run_at": "-infinity"}, "23514", "is out of range"),
    ({"expires_at": "infinity"}, "23514", "expires_at infinity is out of range"),
    ({"reply_channel": "zmesh_queue"}, "23514", "invocations_reply_channel_is_random"),
]


def test_what_cannot_run_is_refused_with_the_reason(
    database: Database, project: TestProject, neighbour: TestProject
) -> None:
    for columns, sqlstate, message in REFUSED:
        with pytest.raises(psycopg.Error) as refused:
            database.enqueue(project, **{"function": "greet", **columns})
        assert refused.value.sqlstate == sqlstate, columns
        assert message in str(refused.value), columns
    assert sql(database, project, "select id from zmesh.invocations") == []


ATTACKS = [
    "insert into zmesh.invocations (project_id, function) values ('{theirs}', 'secret')",
    "insert into zmesh.invocations (function_id, function) values ('{function}', 'greet')",
    "insert into zmesh.invocations (function, source) values ('greet', 'api')",
    "insert into zmesh.invocations (function, source) values ('greet', 'webhook')",
    "insert into zmesh.invocations (function, status) values ('greet', 'running')",
    "insert into zmesh.invocations (function, created_at) values ('greet', '2000-01-01')",
    "insert into zmesh.invocations (function, lane) values ('greet', 1)",
    "insert into zmesh.invocations (function, schedule_id) values ('greet', gen_random_uuid())",
    "insert into zmesh.invocations (id, function) values ('{invocation}', 'greet')",
    "insert into zmesh.queue (function) values ('greet')",
    "insert into zmesh.history (function) values ('greet')",
    "insert into zmesh.logs (invocation_id, attempt, line) values ('{invocation}', 1, 2)",
    "update zmesh.invocations set payload = '1'",
    "delete from zmesh.invocations where id = '{invocation}'",
    "truncate zmesh.invocations",
    "select * from zmesh.queue",
    "select * from zmesh.history",
    "select * from zmesh.history_rest",
    "select * from zmesh.logs_rest",
    "select * from zmesh.waiters",
    "select * from zmesh.idempotency_keys",
    "select * from zmesh.schedule_runs for update",
    "select * from zmesh.invocations for update",
    "lock table zmesh.invocations in share mode",
    "create trigger t after insert on zmesh.invocations execute function suppress_redundant_updates_trigger()",
    "create rule r as on insert to zmesh.invocations do nothing",
    "create policy p on zmesh.invocations using (true)",
    "alter table zmesh.invocations disable row level security",
    "set session authorization zmesh_owner",
    "select zmesh.prepare_invocation()",
    "select zmesh.insert_once(null)",
    "insert into zmesh.invocations (function, idempotency_key, idempotency_scope) values ('greet', 'k', 'anonymous')",
    "select zmesh.retire_version(gen_random_uuid(), 1)",
    "select zmesh.retry(array['{invocation}'::uuid])",
    "select zmesh.finish(gen_random_uuid(), '{{}}')",
]


def test_the_role_can_do_no_more_than_insert_and_read(
    database: Database, project: TestProject, neighbour: TestProject
) -> None:
    everything = "select * from zmesh.invocations order by id"
    before = database.rows(everything)
    names = {"theirs": neighbour.id, "function": before[-1]["function_id"], "invocation": before[-1]["id"]}
    with database.connect(project.url) as connection:
        for attack in ATTACKS:
            try:
                with connection.transaction():
                    connection.execute(attack.format(**names))
            except psycopg.errors.InsufficientPrivilege:
                continue
            pytest.fail(attack)
    assert database.rows(everything) == before


# What may be asked, and shall show nothing of the neighbour's: whatever a query does with rows before it filters them.
SPYING = [
    "select * from zmesh.invocations",
    "select * from zmesh.logs",
    "select * from zmesh.dead_invocations",
    "select * from zmesh.own_functions",
    "select * from zmesh.schedules",
    "select * from zmesh.schedule_runs",
    "select * from zmesh.changes",
    "select * from zmesh.invocations where leak(payload::text)",
    "select * from zmesh.logs where leak(message)",
    "select * from zmesh.dead_invocations where leak(error::text)",
    "select * from zmesh.own_functions where leak(slug)",
    "select n from mine cross join (select payload from zmesh.invocations offset 0) i where leak(payload::text)",
]


def test_no_query_sees_a_neighbours_row_not_even_on_its_way(
    database: Database, project: TestProject, neighbour: TestProject
) -> None:
    with database.connect(project.url) as connection:
        seen: list[str] = []
        connection.add_notice_handler(lambda notice: seen.append(str(notice.message_primary)))
        connection.execute("create table mine (n integer); insert into mine values (1)")
        # It costs nothing, so that it is tried before any other condition.
        connection.execute(
            "create function leak(text) returns boolean language plpgsql cost 0.0000001"
            " as $$ begin raise notice '%', $1; return true; end $$"
        )
        for query in SPYING:
            found = connection.execute(query).fetchall()
            assert "theirs" not in str(found), query
            assert not any("theirs" in line or "secret" in line for line in seen), query


def test_the_same_idempotency_key_of_another_project_is_another_key(
    database: Database, project: TestProject, neighbour: TestProject
) -> None:
    assert len(database.enqueue(project, idempotency_key="success")) == 1


def test_a_parent_of_another_project_is_ignored(
    database: Database, project: TestProject, neighbour: TestProject
) -> None:
    [theirs] = database.claim(database.listener())
    [id] = database.enqueue(project, parent_id=theirs["id"])
    assert (database.invocation(id)["parent_id"], database.invocation(id)["source"]) == (None, "sql")
