"""Schedules: each due time fires exactly once, or is recorded as skipped with its reason."""

from __future__ import annotations

import re
import threading
from uuid import UUID

import psycopg
import pytest

from tests.databases import Database, TestProject


def schedule(database: Database, project: TestProject, **columns: object) -> UUID:
    """A schedule, every ten minutes unless told."""
    values = {"name": "nightly", "cron": "*/10 * * * *", "function": "greet", **columns}
    names, marks = ", ".join(values), ", ".join(["%s"] * len(values))
    query = f"insert into zmesh.schedules ({names}) values ({marks}) returning id"
    return UUID(str(database.value(query, *values.values(), url=project.url)))


def tick_at(database: Database, *times: str) -> None:
    for at in times:
        database.stop_clock(f"2030-01-01 {at}Z")
        database.rows("select zmesh.tick()")


def runs(database: Database) -> list[str]:
    """What became of each due time, such as `12:10 fired`; spans as `12:10-12:30 skipped_missed`."""
    rows = database.rows(
        "select to_char(due_at at time zone 'UTC', 'HH24:MI:SS') || coalesce(to_char(last_due_at at time zone 'UTC',"
        " '-HH24:MI:SS'), '') || ' ' || outcome as run from zmesh.schedule_runs order by due_at"
    )
    return [row["run"].replace(":00 ", " ").replace(":00-", "-") for row in rows]


def fired(database: Database) -> int:
    return int(database.value("select count(*) from zmesh.invocations where source = 'schedule'"))


@pytest.fixture
def project(database: Database) -> TestProject:
    """A project with the function greet, at 12:01 on a day that stands still."""
    database.stop_clock("2030-01-01 12:01Z")
    project = database.project()
    database.function(project)
    return project


def test_a_due_time_fires_once_however_many_clocks_tick(database: Database, project: TestProject) -> None:
    schedule(database, project, payload='{"a": 1}')
    database.stop_clock("2030-01-01 12:10:05Z")
    ticks = ["select zmesh.tick()", "select zmesh.listener_tick()"] * 4
    threads = [threading.Thread(target=database.rows, args=(tick,)) for tick in ticks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [invocation] = database.rows("select source, payload, function, max_attempts, status, due from zmesh.invocations")
    assert invocation == {
        "source": "schedule",
        "payload": {"a": 1},
        "function": "greet",
        "max_attempts": 3,
        "status": "queued",
        "due": True,
    }
    assert runs(database) == ["12:10 fired"]


def test_what_a_schedule_fires_is_claimed_and_knows_its_due_time(database: Database, project: TestProject) -> None:
    schedule(database, project)
    listener = database.listener(lease="1 year")
    tick_at(database, "12:10:02")
    [job] = database.claim(listener)
    assert job["slug"] == "greet"
    assert database.invocation(job["id"])["run_at"].isoformat() == "2030-01-01T12:10:00+00:00"


def test_a_schedule_skips_while_its_previous_run_has_not_ended(database: Database, project: TestProject) -> None:
    schedule(database, project)
    listener = database.listener(lease="1 year")
    tick_at(database, "12:10", "12:20")
    [job] = database.claim(listener)
    tick_at(database, "12:30")
    database.finish(listener, job)
    tick_at(database, "12:40")
    assert runs(database) == ["12:10 fired", "12:20 skipped_overlap", "12:30 skipped_overlap", "12:40 fired"]


def test_a_project_has_a_bounded_number_of_schedules(database: Database, project: TestProject) -> None:
    database.rows("update zmesh.settings set max_schedules = 2")
    schedule(database, project, name="one")
    schedule(database, project, name="two")
    with pytest.raises(psycopg.errors.CheckViolation, match="a project may have at most 2 schedules"):
        schedule(database, project, name="three")
    assert database.value("select count(*) from zmesh.schedules") == 2


def test_payloads_of_a_project_s_schedules_are_bounded_together(database: Database, project: TestProject) -> None:
    database.rows("update zmesh.settings set max_schedule_payloads_mb = 1")
    half_a_megabyte = "select to_jsonb(string_agg(gen_random_uuid()::text, '')) from generate_series(1, 15000)"
    values = f"(%s, '@daily', 'greet', ({half_a_megabyte}))"
    create = f"insert into zmesh.schedules (name, cron, function, payload) values {values}"
    database.rows(create, "one", url=project.url)
    schedule(database, project, name="two")
    for query, names in ((create, ["three"]), (f"update zmesh.schedules set payload = ({half_a_megabyte})", [])):
        with pytest.raises(psycopg.errors.CheckViolation, match="1 MiB in total"):
            database.rows(query, *names, url=project.url)
    database.rows("update zmesh.schedules set enabled = false", url=project.url)


def test_a_schedule_with_overlap_queue_queues_a_second_run(database: Database, project: TestProject) -> None:
    schedule(database, project, overlap="queue")
    tick_at(database, "12:10", "12:20")
    assert runs(database) == ["12:10 fired", "12:20 fired"]


@pytest.mark.parametrize(
    ("missed", "outcomes"),
    [
        ("skip", ["12:10-12:20 skipped_missed", "12:30 skipped_missed"]),
        ("once", ["12:10-12:20 skipped_missed", "12:30 fired"]),
        ("all", ["12:10 fired", "12:20 fired", "12:30 fired"]),
    ],
)
def test_missed_due_times_are_handled_as_the_schedule_asks(
    database: Database, project: TestProject, missed: str, outcomes: list[str]
) -> None:
    schedule(database, project, missed=missed, overlap="queue")
    tick_at(database, "12:35", "12:36")
    assert runs(database) == outcomes
    assert database.value("select next_due_at = '2030-01-01 12:40Z' from zmesh.schedules")


def test_a_single_due_time_that_is_only_a_little_late_is_not_missed(database: Database, project: TestProject) -> None:
    schedule(database, project, missed="skip")
    tick_at(database, "12:11:20", "12:21:40")
    assert runs(database) == ["12:10 fired", "12:20 skipped_missed"]


def test_only_the_last_hundred_missed_times_are_made_up_for(database: Database, project: TestProject) -> None:
    schedule(database, project, missed="all", overlap="queue", cron="* * * * *")
    tick_at(database, "16:00:30")
    assert runs(database)[:2] == ["12:02-14:20 skipped_missed", "14:21 fired"]
    assert fired(database) == 100


def test_a_pause_of_years_costs_no_more_than_one_of_minutes(database: Database, project: TestProject) -> None:
    for n, missed in enumerate(("skip", "once", "all")):
        schedule(database, project, name=f"every second {n}", missed=missed, cron="1 second", overlap="queue")
    database.stop_clock("2040-01-01 12:00:00.5Z")
    with database.connect() as connection:
        connection.execute("set statement_timeout = '5s'")
        connection.execute("select zmesh.tick()")
    # The present second is on time even for the one that skips what it missed.
    assert fired(database) == 1 + 1 + 100


def test_making_up_for_all_missed_times_still_skips_overlapping_runs(database: Database, project: TestProject) -> None:
    schedule(database, project, missed="all")
    tick_at(database, "12:35")
    assert runs(database) == ["12:10 fired", "12:20 skipped_overlap", "12:30 skipped_overlap"]


def test_a_schedule_of_a_disabled_function_records_why_it_skipped(database: Database, project: TestProject) -> None:
    schedule(database, project)
    database.rows("update zmesh.functions set enabled = false")
    tick_at(database, "12:10", "12:35")
    assert runs(database) == ["12:10 skipped_disabled", "12:20 skipped_missed", "12:30 skipped_disabled"]


def test_a_resumed_schedule_makes_up_for_nothing(database: Database, project: TestProject) -> None:
    id = schedule(database, project, missed="all")
    database.rows("update zmesh.schedules set enabled = false where id = %s", id, url=project.url)
    tick_at(database, "12:10", "12:25")
    database.rows("update zmesh.schedules set enabled = true where id = %s", id, url=project.url)
    tick_at(database, "12:26", "12:30")
    assert runs(database) == ["12:10-12:20 skipped_paused", "12:30 fired"]


def test_changing_a_schedule_records_its_due_times_as_skipped(database: Database, project: TestProject) -> None:
    id = schedule(database, project)
    change = "update zmesh.schedules set cron = %s where id = %s"
    for at, cron in (("12:05", "*/15 * * * *"), ("12:35", "*/20 * * * *")):
        database.stop_clock(f"2030-01-01 {at}Z")
        database.rows(change, cron, id, url=project.url)
    tick_at(database, "12:40")
    assert runs(database) == ["12:15-12:30 skipped_changed", "12:40 fired"]


def test_a_change_of_a_paused_schedule_records_the_pause_until_then(database: Database, project: TestProject) -> None:
    id = schedule(database, project)
    for at, change in (
        ("12:05", "enabled = false"),
        ("12:15", "cron = '*/15 * * * *'"),
        ("12:50", "enabled = true"),
    ):
        database.stop_clock(f"2030-01-01 {at}Z")
        database.rows(f"update zmesh.schedules set {change} where id = %s", id, url=project.url)
    tick_at(database, "13:00")
    assert runs(database) == ["12:10 skipped_paused", "12:30-12:45 skipped_paused", "13:00 fired"]


def test_a_schedule_in_seconds_fires_between_minutes(database: Database, project: TestProject) -> None:
    schedule(database, project, cron="15 seconds", overlap="queue")
    tick_at(database, "12:01:14", "12:01:15", "12:01:16", "12:01:30", "12:01:46")
    assert runs(database) == ["12:01:15 fired", "12:01:30 fired", "12:01:45 fired"]


def test_beside_pg_cron_a_listener_fires_the_seconds_only(database: Database, project: TestProject) -> None:
    schedule(database, project, name="minutes", cron="* * * * *")
    schedule(database, project, name="seconds", cron="30 seconds", overlap="queue")
    database.rows("update zmesh.clock set source = 'pg_cron'")
    tick_at(database, "12:01:20")
    # 75 seconds after its last tick, pg_cron counts as stopped and the listener does all of it.
    for at, count in (("12:01:30", 1), ("12:02:00", 2), ("12:02:34", 3), ("12:02:36", 4)):
        database.stop_clock(f"2030-01-01 {at}Z")
        database.rows("select zmesh.listener_tick()", url=database.listener_url)
        assert fired(database) == count, at


def test_a_clock_set_back_repeats_nothing_and_waits_for_nothing(database: Database, project: TestProject) -> None:
    schedule(database, project, overlap="queue")
    tick_at(database, "12:10", "12:20")
    database.stop_clock("2039-01-01 00:00Z")  # wrong by nine years, for a moment
    database.rows("select zmesh.tick()")
    tick_at(database, "12:15", "12:20:30", "12:30", "12:40")
    times = [run.split()[0] for run in runs(database) if run.endswith("fired")]
    assert times == ["12:10", "12:20", "12:30", "12:40", "00:00"]


def test_a_schedule_that_cannot_fire_any_more_is_paused_and_holds_up_no_other(
    database: Database, project: TestProject
) -> None:
    """As after an update of the system that took the time zone away."""
    gone = schedule(database, project, name="gone", timezone="Asia/Tokyo")
    for n in range(3):
        schedule(database, project, name=f"good {n}")
    with database.connect() as connection:
        connection.execute("set session_replication_role = replica")  # no trigger checks it
        connection.execute("update zmesh.schedules set timezone = 'Asia/Edo' where id = %s", [gone])
    tick_at(database, "12:10", "12:20")
    assert fired(database) == 3
    assert runs(database).count("12:20 skipped_overlap") == 3
    [failure] = database.rows("select * from zmesh.schedule_runs where outcome = 'skipped_failed'", url=project.url)
    assert failure["schedule_id"] == gone
    assert failure["error"] == 'time zone "Asia/Edo" not recognized'
    again = "update zmesh.schedules set enabled = true where name = 'gone'"
    with pytest.raises(psycopg.Error, match="Asia/Edo"):
        database.rows(again, url=project.url)
    database.rows(again.replace("true", "true, timezone = 'Asia/Tokyo'"), url=project.url)
    tick_at(database, "12:30")
    assert database.value(
        "select outcome from zmesh.schedule_runs where schedule_id = %s and due_at = zmesh.now()", gone
    )


def test_an_idle_clock_writes_nothing(database: Database, project: TestProject) -> None:
    schedule(database, project)
    tick_at(database, "12:02")
    with database.connect(database.listener_url) as connection:
        connection.execute("select zmesh.listener_tick()")
        for _ in range(3):
            with connection.transaction():
                connection.execute("select zmesh.listener_tick()")
                [xid] = connection.execute("select pg_current_xact_id_if_assigned() as xid").fetchall()
                assert xid["xid"] is None


def test_run_now_invokes_whatever_the_state_and_is_in_the_record(database: Database, project: TestProject) -> None:
    id = schedule(database, project, payload='{"a": 1}', enabled=False)
    invocation = database.value("select zmesh.run_schedule(%s)", id, url=project.url)
    assert database.invocation(invocation)["payload"] == {"a": 1}
    assert runs(database) == ["12:01 run_now"]
    database.rows("update zmesh.functions set enabled = false")
    with pytest.raises(psycopg.Error, match='function "greet" is disabled'):
        database.rows("select zmesh.run_schedule(%s)", id, url=project.url)


def test_a_project_manages_its_schedules_by_sql(database: Database, project: TestProject) -> None:
    id = schedule(database, project)
    database.function(project, "other")
    database.rows("update zmesh.schedules set function = 'other', cron = '@daily' where id = %s", id, url=project.url)
    [seen] = database.rows("select function, next_due_at, enabled from zmesh.schedules", url=project.url)
    assert (seen["function"], seen["next_due_at"].isoformat()) == ("other", "2030-01-02T00:00:00+00:00")
    tick_at(database, "23:59")
    database.rows("delete from zmesh.schedules", url=project.url)
    assert database.rows("select * from zmesh.schedules") == []


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"timezone": "Mars/Base"}, "time zone 'Mars/Base' is unknown"),
        ({"function": "nobody"}, 'function "nobody" does not exist in this project'),
        ({"function": "theirs"}, 'function "theirs" does not exist in this project'),
        ({"cron": "61 * * * *"}, "cron field '61' is out of range 0 to 59"),
        ({"cron": "0 0 31 2 *"}, "never comes due"),
        ({"overlap": "maybe"}, "schedules_overlap_is_known"),
        ({"name": "taken"}, "schedules_name_is_unique"),
    ],
)
def test_an_invalid_schedule_is_refused_with_the_reason(
    database: Database, project: TestProject, columns: dict[str, object], message: str
) -> None:
    database.function(database.project("other"), "theirs")
    schedule(database, project, name="taken")
    with pytest.raises(psycopg.Error, match=re.escape(message)):
        schedule(database, project, **columns)


ATTACKS = [
    "insert into zmesh.schedules (project_id, name, function, cron) values ('{theirs}', 'x', 'greet', '@daily')",
    "insert into zmesh.schedules (function_id, name, cron) values ('{function}', 'x', '@daily')",
    "update zmesh.schedules set project_id = '{theirs}'",
    "update zmesh.schedules set next_due_at = now()",
    "insert into zmesh.schedule_runs (schedule_id) values ('{schedule}')",
    "insert into zmesh.schedule_runs (schedule_id, due_at, outcome) values ('{own}', now(), 'fired')",
    "delete from zmesh.schedule_runs",
    "select zmesh.run_schedule('{schedule}')",
    "select zmesh.tick()",
    "select zmesh.fire_all_due(false)",
    "select zmesh.prepare_run_now()",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_another_projects_schedules_are_out_of_reach(database: Database, project: TestProject, attack: str) -> None:
    other = database.project("other")
    function = database.function(other)
    theirs = schedule(database, other)
    own = schedule(database, project)
    before = database.rows("select * from zmesh.schedules order by id")
    with pytest.raises(psycopg.Error):
        database.rows(attack.format(theirs=other.id, function=function, schedule=theirs, own=own), url=project.url)
    for quiet in (
        "update zmesh.schedules set enabled = true where project_id <> '{mine}'",
        "delete from zmesh.schedules where id = '{schedule}'",
    ):
        database.rows(quiet.format(mine=project.id, schedule=theirs), url=project.url)
    assert database.rows("select * from zmesh.schedules order by id") == before
    assert database.value("select count(*) from zmesh.invocations") == 0
    assert [row["id"] for row in database.rows("select id from zmesh.schedules", url=project.url)] == [own]
