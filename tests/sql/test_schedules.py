"""Schedules: the cron arithmetic against a slow oracle, and firing exactly once."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.databases import Database, TestProject

FIELDS = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 6)]


def field_strategy(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    span = st.tuples(number, number).map(lambda p: f"{min(p)}-{max(p)}")
    stepped = st.tuples(st.one_of(st.just("*"), span), st.integers(1, high)).map(lambda p: f"{p[0]}/{p[1]}")
    one = st.one_of(number.map(str), span, stepped)
    return st.one_of(st.just("*"), st.just("*"), st.lists(one, min_size=1, max_size=3).map(",".join))


def values(text: str, low: int, high: int) -> set[int]:
    found: set[int] = set()
    for item in text.split(","):
        span, _, step = item.partition("/")
        first, _, last = span.partition("-")
        start = low if span == "*" else int(first)
        end = high if span == "*" or (step and not last) else int(last or first)
        found |= set(range(start, end + 1, int(step or 1)))
    return found


def matches(cron: str, at: datetime) -> bool:
    _, _, day, _, weekday = cron.split()
    allowed = [values(text, *bounds) for text, bounds in zip(cron.split(), FIELDS, strict=True)]
    is_day, is_weekday = at.day in allowed[2], at.isoweekday() % 7 in allowed[4]
    both = not day.startswith("*") and not weekday.startswith("*")
    return (
        at.minute in allowed[0]
        and at.hour in allowed[1]
        and at.month in allowed[3]
        and ((is_day or is_weekday) if both else (is_day and is_weekday))
    )


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cron=st.tuples(*(field_strategy(*b) for b in FIELDS)).map(" ".join), minutes=st.integers(0, 60 * 24 * 800))
def test_the_next_due_time_is_the_first_minute_that_matches(
    shared: psycopg.Connection, cron: str, minutes: int
) -> None:
    after = datetime(2027, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes, seconds=17)
    try:
        row = shared.execute("select zmesh.cron_next(%s, 'UTC', %s)", (cron, after)).fetchone()
    except psycopg.Error as error:
        if "never comes due" not in str(error):  # as 31 February does not
            raise
        row = None
    at = after.replace(second=0) + timedelta(minutes=1)
    for _ in range(60 * 24 * 45):
        if matches(cron, at):
            break
        at += timedelta(minutes=1)
    else:
        assert row is None or row[0] > after + timedelta(days=44)
        return
    assert row is not None
    assert row[0] == at


@pytest.fixture
def shared(database: Database) -> psycopg.Connection:
    return psycopg.connect(database.admin_url, autocommit=True)


@pytest.mark.parametrize(
    ("cron", "timezone", "after", "due"),
    [
        ("30 6 * * mon-fri", "Europe/Berlin", "2026-11-27 12:00Z", "2026-11-30 05:30Z"),
        ("0 0 29 2 *", "UTC", "2026-01-01 00:00Z", "2028-02-29 00:00Z"),
        ("0 9 * * 7", "UTC", "2026-11-24 00:00Z", "2026-11-29 09:00Z"),
        ("@daily", "America/New_York", "2026-07-01 00:00Z", "2026-07-01 04:00Z"),
        ("0 0 13 * fri", "UTC", "2026-11-01 00:00Z", "2026-11-06 00:00Z"),
    ],
)
def test_time_zones_names_and_both_day_fields(
    database: Database, cron: str, timezone: str, after: str, due: str
) -> None:
    assert database.value("select zmesh.cron_next(%s, %s, %s) = %s::timestamptz", cron, timezone, after, due)


@pytest.mark.parametrize("cron", ["", "* * * *", "60 * * * *", "* * 0 * *", "*/0 * * * *", "a * * * *", "5-1 * * * *"])
def test_a_cron_expression_that_means_nothing_is_refused(database: Database, cron: str) -> None:
    with pytest.raises(psycopg.Error) as refused:
        database.rows("select zmesh.cron_next(%s, 'UTC', now())", cron)
    assert refused.value.sqlstate == "ZM422"


def schedule(database: Database, project: TestProject, **columns: object) -> object:
    function = database.function(project)
    values = {"name": "nightly", "cron": "*/10 * * * *", **columns, "project_id": project.id, "function_id": function}
    names, marks = ", ".join(values), ", ".join(["%s"] * len(values))
    query = f"insert into zmesh.schedules ({names}) values ({marks}) returning id"
    return database.value(query, *values.values())


def outcomes(database: Database) -> list[str]:
    return [row["outcome"] for row in database.rows("select outcome from zmesh.schedule_runs order by due_at")]


def test_a_due_time_fires_once_however_many_clocks_tick(database: Database) -> None:
    database.stop_clock("2030-01-01 12:01Z")
    schedule(database, database.project(), payload='{"a": 1}')
    database.stop_clock("2030-01-01 12:10:05Z")
    threads = [threading.Thread(target=lambda: database.rows("select zmesh.tick()")) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [invocation] = database.rows("select source, payload from zmesh.invocations")
    assert invocation == {"source": "schedule", "payload": {"a": 1}}


def test_a_schedule_skips_while_the_run_before_has_not_ended(database: Database) -> None:
    database.stop_clock("2030-01-01 12:01Z")
    schedule(database, database.project())
    for minute in ("10", "20"):
        database.stop_clock(f"2030-01-01 12:{minute}Z")
        database.rows("select zmesh.tick()")
    assert outcomes(database) == ["fired", "skipped_overlap"]


@pytest.mark.parametrize(("missed", "fired"), [("skip", 0), ("once", 1), ("all", 3)])
def test_missed_due_times_are_treated_as_asked(database: Database, missed: str, fired: int) -> None:
    database.stop_clock("2030-01-01 12:01Z")
    schedule(database, database.project(), missed=missed, overlap="queue")
    database.stop_clock("2030-01-01 12:35Z")
    database.rows("select zmesh.tick()")
    assert database.value("select count(*) from zmesh.invocations") == fired
    assert database.value("select next_due_at = '2030-01-01 12:40Z' from zmesh.schedules")


def test_an_unknown_time_zone_is_refused(database: Database) -> None:
    project = database.project()
    with pytest.raises(psycopg.Error, match="time zone 'Mars/Base' is unknown"):
        schedule(database, project, timezone="Mars/Base")
