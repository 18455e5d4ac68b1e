"""An invocation's life in time: delay, expiry, retries, death, another try, and retention."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import psycopg
import pytest

from tests.databases import Database, Row

FAILURE = '{"type": "Error", "message": "no", "stack": null}'


def test_a_delayed_invocation_starts_when_it_is_due(database: Database) -> None:
    project = database.project()
    database.function(project)
    database.stop_clock("2030-01-01 12:00Z")
    [id] = database.enqueue(project, run_at="2030-01-01 12:00:00.250Z")
    listener = database.listener()
    assert database.claim(listener) == []
    assert database.value("select zmesh.seconds_to_next()", url=database.listener_url) == pytest.approx(0.25)
    database.stop_clock("2030-01-01 12:00:00.250Z")
    [job] = database.claim(listener)
    assert job["id"] == id
    assert database.value("select zmesh.seconds_to_next()", url=database.listener_url) is None


def test_an_expired_invocation_is_not_started_and_its_caller_is_told(database: Database) -> None:
    project = database.project()
    database.function(project)
    database.stop_clock("2030-01-01 12:00Z")
    channel = f"zmesh_r_{'b' * 32}"
    listener = database.listener(lease="1 day")
    with psycopg.connect(project.url, autocommit=True) as waiting:
        waiting.execute(f"listen {channel}")
        [id] = database.enqueue(project, expires_at="2030-01-01 12:01Z", reply_channel=channel)
        database.stop_clock("2030-01-01 12:01:01Z")
        assert database.claim(listener) == []
        assert database.value("select zmesh.end_expired()", url=database.listener_url) == 1
        assert len(list(waiting.notifies(timeout=10, stop_after=1))) == 1
    ended = database.invocation(id)
    assert (ended["status"], ended["error"]["type"], ended["attempt"]) == ("error", "expired", 0)


def failed_until_dead(database: Database, listener: UUID, id: UUID) -> list[timedelta]:
    """The waits between the attempts, with the clock put forward each time."""
    waits = []
    while True:
        [job] = database.claim(listener)
        database.finish(listener, job, "error", error=FAILURE)
        row = database.invocation(id)
        if row["status"] != "queued":
            return waits
        waits.append(row["run_at"] - database.value("select zmesh.now()"))
        database.stop_clock(row["run_at"].isoformat())


def test_retries_wait_twice_as_long_each_time_up_to_a_maximum(database: Database) -> None:
    project = database.project()
    database.function(project, max_attempts=5, retry_base_ms=100, retry_max_ms=300)
    database.stop_clock("2030-01-01 12:00Z")
    [id] = database.enqueue(project)
    waits = failed_until_dead(database, database.listener(lease="1 day"), id)
    for wait, longest in zip(waits, (100, 200, 300, 300), strict=True):
        assert timedelta(milliseconds=longest / 2) <= wait <= timedelta(milliseconds=longest)


def test_an_invocation_may_set_its_own_retries(database: Database) -> None:
    project = database.project()
    database.function(project)
    database.stop_clock("2030-01-01 12:00Z")
    [id] = database.enqueue(project, max_attempts=2, retry_base_ms=60000)
    [wait] = failed_until_dead(database, database.listener(lease="1 day"), id)
    assert timedelta(seconds=30) <= wait <= timedelta(seconds=60)


def test_a_call_that_somebody_waits_for_is_tried_once(database: Database) -> None:
    project = database.project()
    database.function(project)
    [awaited] = database.enqueue(project, reply_channel=f"zmesh_i_{'c' * 32}")
    [background] = database.enqueue(project)
    assert database.invocation(awaited)["max_attempts"] == 1
    assert database.invocation(background)["max_attempts"] == 3


def test_a_channel_that_is_waited_on_is_shown_to_nobody(database: Database) -> None:
    project = database.project()
    database.function(project)
    [id] = database.enqueue(project, reply_channel=f"zmesh_r_{'d' * 32}")
    assert database.row("select * from zmesh.invocations where id = %s", id, url=project.url)["reply_channel"] is None
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        database.rows("select * from zmesh.waiters", url=project.url)


def dead(database: Database) -> tuple[UUID, UUID]:
    """A listener, and an invocation that has failed for good."""
    project = database.project()
    database.function(project)
    [id] = database.enqueue(project, max_attempts=1, idempotency_key="once")
    listener = database.listener()
    [job] = database.claim(listener)
    database.finish(listener, job, "error", error=FAILURE)
    return listener, id


def test_the_dead_are_listed_and_get_another_attempt(database: Database) -> None:
    listener, id = dead(database)
    assert [row["id"] for row in database.rows("select id from zmesh.dead_invocations", url=database.api_url)] == [id]
    assert database.value("select zmesh.retry(%s)", [id], url=database.api_url) == id
    assert database.rows("select id from zmesh.dead_invocations") == []
    [job] = database.claim(listener)
    assert (job["id"], job["attempt"], job["max_attempts"]) == (id, 2, 2)
    database.finish(listener, job, result="1")
    assert database.invocation(id)["status"] == "success"
    assert database.rows("select zmesh.retry(%s)", [id], url=database.api_url) == []


def test_only_dead_invocations_can_be_retried(database: Database) -> None:
    project = database.project()
    database.function(project)
    [id] = database.enqueue(project)
    assert database.rows("select zmesh.retry(%s)", [id]) == []
    assert len(database.claim(database.listener())) == 1


def test_a_function_deleted_while_an_insert_is_under_way_leaves_nothing_stuck(database: Database) -> None:
    project = database.project()
    function = database.function(project)
    with psycopg.connect(project.url) as inserting:
        inserting.execute("insert into zmesh.invocations (function) values ('greet')")
        database.rows("delete from zmesh.functions where id = %s", function)
        inserting.commit()
    assert database.claim(database.listener()) == []
    ended = database.row("select status, error from zmesh.invocations")
    assert (ended["status"], ended["error"]["message"]) == ("cancelled", 'function "greet" was deleted')


def partition_of(database: Database, id: UUID) -> str:
    return str(database.value("select tableoid::regclass::text from zmesh.invocations where id = %s", id))


def end(database: Database, listener: UUID, **columns: object) -> Row:
    [job] = database.claim(listener)
    database.finish(listener, job, **columns)
    return job


def test_history_is_partitioned_by_time_and_dropped_when_it_is_old(database: Database) -> None:
    project = database.project()
    database.function(project)
    database.stop_clock("2030-03-01 12:00Z")
    database.rows("update zmesh.settings set retention_days = 5")
    assert database.value("select zmesh.maintain()", url=database.listener_url)
    database.enqueue(project, idempotency_key="once")
    old = end(database, database.listener(lease="1 year"))
    assert partition_of(database, old["id"]) == "zmesh.history_20300301"
    database.stop_clock("2030-03-08 12:00Z")
    assert database.value("select zmesh.maintain()", url=database.listener_url)
    assert database.rows("select id from zmesh.invocations") == []
    assert database.value("select count(*) from pg_class where relname in ('history_20300301', 'logs_20300301')") == 0
    assert len(database.enqueue(project, idempotency_key="once")) == 1


def test_there_is_a_partition_for_clients_whose_clock_is_a_day_behind(database: Database) -> None:
    assert database.value("select min(starts_at) <= zmesh.now() - interval '1 day' from zmesh.periods")


def test_maintenance_runs_once_a_minute_whoever_calls(database: Database) -> None:
    database.stop_clock("2030-03-01 12:00Z")
    assert [database.value("select zmesh.maintain()") for _ in range(2)] == [True, False]
    database.stop_clock("2030-03-01 12:01Z")
    assert database.value("select zmesh.maintain()") is True


def test_rows_that_ended_before_their_partition_existed_move_into_it(database: Database) -> None:
    project = database.project()
    database.function(project)
    database.stop_clock("2031-01-01 12:00Z")  # as after a year in which nobody maintained anything
    database.enqueue(project)
    job = end(database, database.listener())
    assert partition_of(database, job["id"]) == "zmesh.history_rest"
    database.rows("select zmesh.maintain()")
    assert partition_of(database, job["id"]) == "zmesh.history_20310101"


def test_neither_enqueueing_nor_maintenance_waits_for_the_other(database: Database) -> None:
    project = database.project()
    database.function(project)
    database.stop_clock("2030-03-01 12:00Z")
    database.rows("select zmesh.maintain()")
    database.stop_clock("2030-04-02 12:00Z")
    database.rows("select zmesh.maintain()")
    database.stop_clock("2030-04-03 00:05Z")  # due, and not overdue
    with psycopg.connect(project.url) as reading, psycopg.connect(project.url) as inserting:
        reading.execute("select count(*) from zmesh.invocations")  # holds a lock on every partition
        inserting.execute("insert into zmesh.invocations (function) values ('greet')")
        with database.connect() as maintaining:
            maintaining.execute("set statement_timeout = '5s'")
            maintaining.execute("select zmesh.maintain()")
            assert maintaining.execute("select 1 from pg_class where relname = 'history_20300301'").fetchall()
            reading.commit()
            database.stop_clock("2030-04-03 00:07Z")
            maintaining.execute("select zmesh.maintain()")
            assert not maintaining.execute("select 1 from pg_class where relname = 'history_20300301'").fetchall()


def test_sessions_that_block_an_overdue_drop_are_ended(database: Database) -> None:
    project = database.project()
    database.stop_clock("2030-03-01 12:00Z")
    database.rows("select zmesh.maintain()")
    database.stop_clock("2030-06-01 12:00Z")
    with psycopg.connect(project.url) as first, psycopg.connect(project.url) as second:
        for reading in (first, second):  # as by transactions that overlap: one of them is always there
            reading.execute("select count(*) from zmesh.invocations")
        with psycopg.connect(project.url) as elsewhere, psycopg.connect(database.api_url) as platform:
            elsewhere.execute("select 1")
            platform.execute("select 1")
            database.rows("select zmesh.maintain()", url=database.listener_url)
            assert not database.rows("select 1 from pg_class where relname = 'history_20300301'")
            elsewhere.execute("select 1")  # was in nobody's way
            platform.execute("select 1")
        for reading in (first, second):
            with pytest.raises(psycopg.OperationalError):
                reading.execute("select 1")


def test_sessions_that_block_a_partition_needed_now_are_ended(database: Database) -> None:
    project = database.project()
    database.stop_clock("2030-06-01 12:00Z")
    with psycopg.connect(project.url) as reading:
        reading.execute("select count(*) from zmesh.invocations")
        database.rows("select zmesh.maintain()", url=database.listener_url)
        assert database.rows("select 1 from pg_class where relname = 'history_20300601'")
        with pytest.raises(psycopg.OperationalError):
            reading.execute("select 1")


def test_a_blocked_maintenance_step_undoes_no_other(database: Database) -> None:
    database.stop_clock("2030-03-01 12:00Z")
    with psycopg.connect(database.admin_url) as holding:
        holding.execute("lock table zmesh.schedule_runs")
        assert database.value("select zmesh.maintain()")
    assert database.rows("select 1 from pg_class where relname = 'history_20300301'")


def test_an_invocation_that_waited_longer_than_history_is_kept_still_ends(database: Database) -> None:
    project = database.project()
    database.function(project)
    database.stop_clock("2030-03-01 12:00Z")
    [id] = database.enqueue(project, run_at="2030-06-01 12:00Z")
    database.stop_clock("2030-06-01 12:00Z")
    database.rows("select zmesh.maintain()")
    end(database, database.listener())
    assert database.invocation(id)["status"] == "success"
