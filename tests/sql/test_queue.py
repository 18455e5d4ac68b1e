"""The queue, in plain SQL: what is enqueued is claimed once, ends once, and is never lost."""

from __future__ import annotations

import threading
from uuid import uuid4

import psycopg
import pytest

from tests.databases import Database


def test_an_insert_is_an_invocation_if_and_only_if_it_commits(database: Database) -> None:
    project = database.project()
    database.function(project)
    insert = "insert into zmesh.invocations (function, payload) values ('greet', '{\"n\": 1}')"
    with psycopg.connect(project.url) as connection:
        connection.execute(insert)
        connection.rollback()
        assert database.claim(database.listener()) == []
        connection.execute(insert)
        connection.commit()
    [job] = database.claim(database.listener())
    assert job["payload"] == '{"n": 1}'


def test_an_unknown_function_is_refused_at_once(database: Database) -> None:
    project = database.project()
    with pytest.raises(psycopg.Error, match='function "nope" does not exist in this project') as refused:
        database.enqueue(project, "nope")
    assert refused.value.sqlstate == "ZM404"


def test_a_disabled_function_is_refused(database: Database) -> None:
    project = database.project()
    database.function(project, enabled=False)
    with pytest.raises(psycopg.Error, match="is disabled"):
        database.enqueue(project)


def test_a_project_cannot_reach_another_ones_functions_or_invocations(database: Database) -> None:
    ours, theirs = database.project("ours"), database.project("theirs")
    database.function(ours)
    [id] = database.enqueue(ours)
    with pytest.raises(psycopg.Error, match="does not exist in this project"):
        database.enqueue(theirs)
    assert database.rows("select id from zmesh.invocations", url=theirs.url) == []
    assert [row["id"] for row in database.rows("select id from zmesh.invocations", url=ours.url)] == [id]


@pytest.mark.parametrize(
    "statement",
    [
        "insert into zmesh.invocations (project_id, function) select id, 'greet' from zmesh.projects",
        "insert into zmesh.invocations (function, status) values ('greet', 'success')",
        "update zmesh.invocations set status = 'success'",
        "delete from zmesh.invocations",
        "select code from zmesh.functions",
        "select * from zmesh.project_databases",
        "select * from zmesh.users",
        "select zmesh.claim(gen_random_uuid(), 10)",
        "select zmesh.cancel(array(select id from zmesh.invocations))",
        "select zmesh.end_attempts('{}')",
        "select zmesh.tick()",
        "insert into zmesh.queue select * from zmesh.queue",
        "create table zmesh.mine (a int)",
        "create table public.mine (a int)",
        "create schema mine",
        "set role zmesh_owner",
        "set role zmesh_api",
        "create role mine",
    ],
)
def test_the_projects_role_may_do_nothing_else(database: Database, statement: str) -> None:
    project = database.project()
    database.function(project)
    database.enqueue(project)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        database.rows(statement, url=project.url)


def test_a_job_is_claimed_by_one_listener_only(database: Database) -> None:
    project = database.project()
    database.function(project)
    ids = database.enqueue(project, count=60)
    listeners = [database.listener() for _ in range(6)]
    claimed: list[list[object]] = [[] for _ in listeners]

    def work(n: int) -> None:
        claimed[n] = [job["id"] for job in database.claim(listeners[n], 10)]

    threads = [threading.Thread(target=work, args=(n,)) for n in range(len(listeners))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(id for part in claimed for id in part) == sorted(ids)


def test_the_platforms_limit_is_exact_over_all_listeners(database: Database) -> None:
    project = database.project()
    database.function(project)
    database.enqueue(project, count=20)
    database.rows("update zmesh.settings set max_running = 5")
    first, second = database.listener(), database.listener()
    assert len(database.claim(first, 3)) == 3
    assert len(database.claim(second, 10)) == 2
    assert database.claim(first, 10) == []


def test_a_projects_limit_is_exact_and_leaves_room_to_others(database: Database) -> None:
    busy, quiet = database.project("busy"), database.project("quiet")
    database.function(busy)
    database.function(quiet)
    database.rows("update zmesh.projects set max_running = 2")
    database.enqueue(busy, count=50)
    database.enqueue(quiet)
    jobs = database.claim(database.listener(), 10)
    assert sorted(job["project_id"] for job in jobs) == sorted([busy.id, busy.id, quiet.id])


def test_a_backlog_in_one_project_does_not_hold_up_another(database: Database) -> None:
    busy, quiet = database.project("busy"), database.project("quiet")
    database.function(busy)
    database.function(quiet)
    database.enqueue(busy, count=200)
    database.enqueue(quiet)
    jobs = database.claim(database.listener(), 2)
    assert {job["project_id"] for job in jobs} == {busy.id, quiet.id}


def test_who_waits_goes_first_then_priority_then_time(database: Database) -> None:
    project = database.project()
    database.function(project)
    [plain] = database.enqueue(project)
    [urgent] = database.enqueue(project, priority=5)
    [waited] = database.enqueue(project, reply_channel=f"zmesh_r_{'0' * 32}")
    listener = database.listener()
    assert [database.claim(listener, 1)[0]["id"] for _ in range(3)] == [waited, urgent, plain]


def test_a_job_for_later_waits_until_then(database: Database) -> None:
    project = database.project()
    database.function(project)
    database.stop_clock("2030-01-01 12:00Z")
    database.enqueue(project, run_at="2030-01-01 12:10Z")
    listener = database.listener(lease="1 day")
    assert database.claim(listener) == []
    database.stop_clock("2030-01-01 12:10Z")
    assert len(database.claim(listener)) == 1


def test_a_failed_attempt_is_tried_again_later_until_attempts_run_out(database: Database) -> None:
    project = database.project()
    database.function(project)
    database.stop_clock("2030-01-01 12:00Z")
    [id] = database.enqueue(project, max_attempts=2)
    listener = database.listener(lease="1 day")
    [job] = database.claim(listener)
    assert database.finish(listener, job, "error", error='{"type": "ValueError", "message": "no", "stack": null}')
    assert database.invocation(id)["status"] == "queued"
    assert database.claim(listener) == []
    database.stop_clock("2030-01-01 12:01Z")
    [job] = database.claim(listener)
    assert job["attempt"] == 2
    assert database.finish(listener, job, "timeout")
    assert database.invocation(id)["status"] == "timeout"


def test_a_listener_that_dies_loses_nothing(database: Database) -> None:
    project = database.project()
    database.function(project)
    [again] = database.enqueue(project)
    [once] = database.enqueue(project, max_attempts=1)
    database.stop_clock("2030-01-01 12:00Z")
    dead = database.listener(lease="20 seconds")
    jobs = database.claim(dead)
    assert len(jobs) == 2
    database.stop_clock("2030-01-01 12:01Z")
    assert database.value("select zmesh.reap()", url=database.listener_url) == 2
    assert database.invocation(again)["status"] == "queued"
    lost = database.invocation(once)
    assert (lost["status"], lost["error"]["type"]) == ("error", "listener_lost")
    assert not any(database.finish(dead, job) for job in jobs)
    with pytest.raises(psycopg.Error) as refused:
        database.claim(dead)
    assert refused.value.sqlstate == "ZM410"
    database.stop_clock("2030-01-01 12:02Z")
    alive = database.listener(lease="1 day")
    [job] = database.claim(alive)
    assert (job["id"], job["attempt"]) == (again, 2)
    assert database.finish(alive, job, result="42")
    assert database.invocation(again)["result"] == 42


def test_what_a_listener_claimed_and_never_heard_of_is_queued_as_if_it_had_not_been(database: Database) -> None:
    project = database.project()
    database.function(project)
    database.enqueue(project, count=3, max_attempts=1)
    listener = database.listener()
    known, lost, cancelled = database.claim(listener)
    database.rows("select zmesh.cancel(array[%s::uuid])", cancelled["id"])
    give_back = "select zmesh.give_back(%s, array[%s::uuid])"
    assert database.value(give_back, listener, known["id"], url=database.listener_url) == 2
    assert database.invocation(cancelled["id"])["status"] == "cancelled"
    [again] = database.claim(database.listener())
    assert (again["id"], again["attempt"]) == (lost["id"], 1)
    assert database.invocation(known["id"])["listener_id"] == listener


def test_a_result_is_refused_when_it_comes_twice_or_for_another_attempt(database: Database) -> None:
    project = database.project()
    database.function(project)
    [id] = database.enqueue(project)
    listener = database.listener()
    [job] = database.claim(listener)
    assert not database.finish(listener, {**job, "attempt": 2})
    assert not database.finish(database.listener(), job)
    assert database.finish(listener, job, result="1")
    assert not database.finish(listener, job, result="2")
    assert database.invocation(id)["result"] == 1


def test_only_the_caller_that_waits_is_told(database: Database) -> None:
    project = database.project()
    database.function(project)
    channel = f"zmesh_r_{'a' * 32}"
    listener = database.listener()
    with psycopg.connect(project.url, autocommit=True) as waiting:
        waiting.execute(f"listen {channel}")
        [id] = database.enqueue(project, reply_channel=channel)
        database.enqueue(project)
        for job in database.claim(listener):
            database.finish(listener, job)
        [told] = list(waiting.notifies(timeout=10, stop_after=1))
    assert told.payload.startswith(str(id))


def test_whoever_asks_for_the_end_of_what_is_under_way_is_told_as_well(database: Database) -> None:
    project = database.project()
    database.function(project)
    channels = [f"zmesh_r_{letter * 32}" for letter in "ab"]
    listener = database.listener()
    [id] = database.enqueue(project, reply_channel=channels[0])
    [job] = database.claim(listener)
    with database.connect(database.api_url) as waiting:
        for channel in channels:
            waiting.execute(f"listen {channel}")
            for _ in range(2):
                waiting.execute("select zmesh.await_end(%s, %s)", (id, channel))
        database.finish(listener, job)
        told = list(waiting.notifies(timeout=10, stop_after=2))
        waiting.execute("select zmesh.await_end(%s, %s)", (id, channels[0]))
    assert sorted(notification.channel for notification in told) == channels
    assert all(notification.payload.startswith(str(id)) for notification in told)
    assert database.rows("select * from zmesh.waiters") == []


def test_a_reply_channel_that_could_be_guessed_is_refused(database: Database) -> None:
    project = database.project()
    database.function(project)
    with pytest.raises(psycopg.errors.CheckViolation):
        database.enqueue(project, reply_channel="zmesh_queue")


def test_the_same_idempotency_key_enqueues_once(database: Database) -> None:
    project = database.project()
    database.function(project)
    [id] = database.enqueue(project, idempotency_key="order-1")
    assert database.enqueue(project, idempotency_key="order-1") == []
    listener = database.listener()
    [job] = database.claim(listener)
    database.finish(listener, job)
    assert database.enqueue(project, idempotency_key="order-1") == []
    assert database.value("select id from zmesh.invocations where idempotency_key = 'order-1'", url=project.url) == id


def test_what_the_api_inserts_again_after_its_end_does_not_run_again(database: Database) -> None:
    project = database.project()
    database.function(project)
    insert = "insert into zmesh.invocations (id, project_id, function, source) values (%s, %s, 'greet', 'api')"
    values = (uuid4(), project.id)
    database.rows(insert, *values, url=database.api_url)
    listener = database.listener()
    [job] = database.claim(listener)
    database.finish(listener, job)
    database.rows(insert, *values, url=database.api_url)
    assert database.claim(listener) == []


def test_cancelling_ends_what_is_queued_and_stops_what_runs(database: Database) -> None:
    project = database.project()
    database.function(project)
    listener = database.listener()
    [running] = database.enqueue(project)
    [job] = database.claim(listener)
    [queued] = database.enqueue(project)
    assert database.value("select zmesh.cancel(%s)", [running, queued], url=database.api_url) == 2
    assert database.invocation(queued)["status"] == "cancelled"
    assert database.invocation(running)["status"] == "running"
    assert database.finish(listener, job, "cancelled")
    assert database.invocation(running)["status"] == "cancelled"
    assert database.value("select zmesh.cancel(%s)", [running, queued], url=database.api_url) == 0


def test_an_insert_notifies_only_while_a_listener_waits(database: Database) -> None:
    project = database.project()
    database.function(project)
    with psycopg.connect(database.listener_url, autocommit=True) as listening:
        listening.execute("listen zmesh_queue")
        database.enqueue(project)  # no listener at all
        listener = database.listener()
        database.claim(listener, 1)
        database.enqueue(project)  # the only one has all it can run
        assert list(listening.notifies(timeout=0)) == []
        database.claim(listener, 5)
        database.enqueue(project, count=3)
        assert len(list(listening.notifies(timeout=10, stop_after=1))) == 1
        assert list(listening.notifies(timeout=0)) == []
