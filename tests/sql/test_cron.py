"""The arithmetic of cron expressions, against cronsim, which follows Debian's cron."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import psycopg
import pytest
from cronsim import CronSim, CronSimError
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from tests.databases import Database

MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
WEEKDAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
FIELDS = {(0, 59): [], (0, 23): [], (1, 31): [], (1, 12): MONTHS, (0, 7): WEEKDAYS}
# Changes of an hour in both hemispheres, of 30 minutes, of 2 and 3 hours, at midnight, for Ramadan, over the date line.
ZONES = [
    *("UTC", "Europe/Berlin", "America/New_York", "Australia/Sydney", "Australia/Lord_Howe", "Antarctica/Troll"),
    *("Antarctica/Casey", "America/Sao_Paulo", "Africa/Cairo", "Asia/Beirut", "Africa/Casablanca", "Pacific/Apia"),
    *("America/Havana", "America/St_Johns", "Asia/Kathmandu", "Asia/Tehran", "Pacific/Chatham"),
]
UNEVEN = ("Australia/Lord_Howe", "America/St_Johns", "Antarctica/Casey", "Pacific/Chatham")
Next = Callable[[str, str, datetime], datetime]


@pytest.fixture
def cron_next(database: Database) -> Iterator[Next]:
    with psycopg.connect(database.admin_url, autocommit=True) as connection:
        # What the session's own time zone is must not matter.
        connection.execute("set timezone = 'America/New_York'")

        def ask(cron: str, zone: str, after: datetime) -> datetime:
            [due] = connection.execute("select zmesh.cron_next(%s, %s, %s)", (cron, zone, after)).fetchone() or ()
            return due.astimezone(UTC)  # type: ignore[no-any-return]

        yield ask


def fields(low: int, high: int, names: list[str]) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    one = st.one_of(number.map(str), st.sampled_from(names)) if names else number.map(str)
    # To the oracle, 5-5/2 is the same as 5/2; to every cron it is 5.
    span = st.tuples(number, number).filter(lambda p: p[0] != p[1]).map(lambda p: f"{min(p)}-{max(p)}")
    start = st.one_of(st.just("*"), span, number.map(str))
    stepped = st.tuples(start, st.integers(1, high)).map(lambda p: f"{p[0]}/{p[1]}")
    return st.one_of(st.just("*"), st.lists(st.one_of(one, span, stepped), min_size=1, max_size=3).map(",".join))


def minute_by_minute(cron: str, zone: str, after: datetime) -> datetime:
    """The first minute whose local time matches, for what goes by the clock on the wall."""
    sim, at = CronSim(cron, after), after.replace(second=0)
    while True:
        at += timedelta(minutes=1)
        local = at.astimezone(ZoneInfo(zone))
        is_day = local.month in sim.months and sim.match_day(local.date())
        if is_day and local.hour in sim.hours and local.minute in sim.minutes:
            return at


def expected(cron: str, zone: str, after: datetime) -> datetime | None:
    """The first due time after this one; None where there is none in fifty years.

    cronsim may yield a time twice, or one of the first pass through a repeated hour when it starts in the second. Where
    clocks change by half an hour or at a minute past, it misses times on the wall, or looks for them for ever.
    """
    minute, hour, *days = cron.split()
    if zone in UNEVEN and "*" in (minute[0], hour[0]):
        assume(days == ["*", "*", "*"])
        return minute_by_minute(cron, zone, after)
    try:
        start = after.astimezone(UTC if zone == "UTC" else ZoneInfo(zone)) - timedelta(hours=4)
        return next((due.astimezone(UTC) for due in CronSim(cron, start) if due.astimezone(UTC) > after), None)
    except CronSimError:
        return None


CRONS = st.tuples(*(fields(*bounds, names) for bounds, names in FIELDS.items())).map(" ".join)
OFTEN = st.tuples(*(fields(*bounds, []) for bounds in list(FIELDS)[:2])).map(lambda p: f"{p[0]} {p[1]} * * *")
SINCE = datetime(2000, 1, 1, tzinfo=UTC)
# Only the past: what is announced for later differs between releases of the time zone data.
TIMES = st.integers(0, 23 * 366 * 86400).map(lambda seconds: SINCE + timedelta(seconds=seconds))
PROPERTY = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@PROPERTY
@given(cron=CRONS, zone=st.sampled_from(ZONES), after=TIMES)
@example(cron="0 0 29 2 */2", zone="UTC", after=SINCE)
@example(cron="0 0 31 2 *", zone="UTC", after=SINCE)
@example(cron="*/20 2 28 10 *", zone="Europe/Berlin", after=datetime(2007, 10, 28, 0, 45, tzinfo=UTC))
def test_any_expression_comes_due_when_the_reference_library_says(
    cron_next: Next, cron: str, zone: str, after: datetime
) -> None:
    due = expected(cron, zone, after)
    if due is not None:
        assert cron_next(cron, zone, after) == due
        return
    with pytest.raises(psycopg.Error, match="never comes due"):
        cron_next(cron, zone, after)


@cache
def changes() -> list[tuple[str, datetime]]:
    """Zones, and hours since 2000 before which their offset from UTC changes."""
    days = [SINCE + timedelta(days=n) for n in range(23 * 365)]
    hour = timedelta(hours=1)
    return [
        (zone, day + n * hour)
        for zone, info in ((zone, ZoneInfo(zone)) for zone in ZONES)
        for day, morrow in itertools.pairwise(days)
        if utc_offset(day, info) != utc_offset(morrow, info)
        for n in range(24)
        if utc_offset(day + n * hour, info) != utc_offset(day + (n + 1) * hour, info)
    ]


def utc_offset(at: datetime, zone: ZoneInfo) -> timedelta | None:
    return at.astimezone(zone).utcoffset()


CHANGES = st.deferred(lambda: st.sampled_from(changes()))


@PROPERTY
@given(
    cron=st.one_of(OFTEN, CRONS),
    change=CHANGES,
    seconds=st.integers(-5 * 3600, 5 * 3600),
)
@example(cron="* 3 * * *", change=("Pacific/Chatham", datetime(2000, 9, 30, 13, tzinfo=UTC)), seconds=0)
@example(cron="* * * 1 *", change=("Pacific/Apia", datetime(2011, 4, 2, 13, tzinfo=UTC)), seconds=0)
def test_due_times_around_clock_changes_match_the_reference_library(
    cron_next: Next, cron: str, change: tuple[str, datetime], seconds: int
) -> None:
    zone, at = change
    after = at + timedelta(seconds=seconds)
    due = expected(cron, zone, after)
    if due is not None:
        assert cron_next(cron, zone, after) == due


@pytest.mark.parametrize(
    ("cron", "after", "due"),
    [
        ("30 2 * * *", "2026-03-29 00:59Z", "2026-03-29 01:00Z"),  # the skipped hour: right after it
        ("0,30 2 * * *", "2026-03-29 01:00Z", "2026-03-30 00:00Z"),  # both of them once
        ("30 2 * * *", "2026-10-25 00:00Z", "2026-10-25 00:30Z"),  # the repeated hour: its first pass only
        ("30 2 * * *", "2026-10-25 00:30Z", "2026-10-26 01:30Z"),
        ("30 * * * *", "2026-10-25 00:30Z", "2026-10-25 01:30Z"),  # by the clock on the wall: both passes
        ("*/30 2 * * *", "2026-03-29 00:00Z", "2026-03-30 00:00Z"),  # and not in a skipped hour
        ("30 6 * * mon-fri", "2026-11-27 12:00Z", "2026-11-30 05:30Z"),
        ("@daily", "2026-07-01 00:00Z", "2026-07-01 22:00Z"),
        ("0 0 13 * FRI", "2026-11-01 00:00Z", "2026-11-05 23:00Z"),  # either day
        ("30 seconds", "2026-11-01 00:00:29.9Z", "2026-11-01 00:00:30Z"),
        ("1 second", "2026-11-01 00:00:29Z", "2026-11-01 00:00:30Z"),
        ("7 seconds", "1970-01-01 00:00:07Z", "1970-01-01 00:00:14Z"),
        ("0 9 * * *\n", "2026-11-01 00:00Z", "2026-11-01 08:00Z"),  # as read from a file
        ("\t0 9\t* * *\r\n", "2026-11-01 00:00Z", "2026-11-01 08:00Z"),
        ("30 seconds\n", "2026-11-01 00:00:29.9Z", "2026-11-01 00:00:30Z"),
        ("@daily\n", "2026-07-01 00:00Z", "2026-07-01 22:00Z"),
        ("0 9 * * sat-sun", "2026-11-27 12:00Z", "2026-11-28 08:00Z"),
        ("0 9 * * SAT-SUN", "2026-11-28 12:00Z", "2026-11-29 08:00Z"),
        ("0 9 * * fri-sun/2", "2026-11-27 12:00Z", "2026-11-29 08:00Z"),
        ("0 9 * * sun-mon", "2026-11-27 12:00Z", "2026-11-29 08:00Z"),
    ],
)
def test_documented_cron_examples_come_due_as_described(cron_next: Next, cron: str, after: str, due: str) -> None:
    assert cron_next(cron, "Europe/Berlin", datetime.fromisoformat(after)) == datetime.fromisoformat(due)


@pytest.mark.parametrize(
    "cron",
    [
        *("", "* * * *", "60 * * * *", "* * 0 * *", "*/0 * * * *", "a * * * *", "5-1 * * * *", "*/90 * * * *"),
        *(", * * * *", "1,,2 * * * *", "*5 * * * *", "0 0 * * mo", "0 0 * * fri-mon", "@reboot"),
        *("0 seconds", "86401 seconds", "-1 seconds", None, "\n", "@every 5m", "0 0 * * monday", "0 22-2 * * *"),
    ],
)
def test_invalid_expressions_are_refused(database: Database, cron: str | None) -> None:
    with pytest.raises(psycopg.Error) as refused:
        database.rows("select zmesh.cron_next(%s, 'UTC', now())", cron)
    assert refused.value.sqlstate == "ZM422"
    assert str(refused.value).startswith("cron ")


def test_the_next_five_runs_are_shown_before_anything_is_saved(database: Database) -> None:
    project = database.project()
    database.stop_clock("2026-10-24 12:00Z")
    rows = database.rows("select * from zmesh.cron_preview('30 2 * * *', 'Europe/Berlin')", url=project.url)
    shown = [row["cron_preview"].astimezone(UTC).strftime("%d %H:%M") for row in rows]
    assert shown == ["25 00:30", "26 01:30", "27 01:30", "28 01:30", "29 01:30"]
    with pytest.raises(psycopg.Error, match="time zone 'Mars/Base' is unknown"):
        database.rows("select * from zmesh.cron_preview('@daily', 'Mars/Base')", url=project.url)


@PROPERTY
@given(cron=OFTEN, zone=st.sampled_from(ZONES), after=TIMES, minutes=st.integers(1, 5000))
def test_the_last_due_time_is_the_one_nothing_follows(
    database: Database, cron_next: Next, cron: str, zone: str, after: datetime, minutes: int
) -> None:
    first = cron_next(cron, zone, after)
    until = first + timedelta(minutes=minutes)
    query = "select zmesh.last_due(zmesh.cron_plan(%s), %s, %s, %s)"
    last = database.value(query, cron, zone, first, until)
    assert first <= last <= until
    assert cron_next(cron, zone, last) > until


@pytest.mark.parametrize(
    ("cron", "hint"),
    [
        ("0 0 * * fri-mon", "Write two ranges: 5-7,0-1."),
        ("0 22-2 * * *", "Write two ranges: 22-23,0-2."),
        ("0 0 * * monday", "names are sun, mon, tue"),
        ("@reboot", "Use @hourly, @daily"),
    ],
)
def test_the_error_suggests_how_to_write_the_probable_intention(database: Database, cron: str, hint: str) -> None:
    with pytest.raises(psycopg.Error) as refused:
        database.rows("select zmesh.cron_next(%s, 'UTC', now())", cron)
    assert hint in (refused.value.diag.message_hint or "")


@pytest.mark.parametrize(
    ("zone", "meant"),
    [
        *(("europe/berlin", "Europe/Berlin"), ("EUROPE/BERLIN", "Europe/Berlin"), ("utc", "UTC")),
        *((" Europe/Berlin\n", "Europe/Berlin"), ("America/New York", "America/New_York"), ("Tokyo", "Asia/Tokyo")),
    ],
)
def test_a_time_zone_in_the_wrong_case_is_answered_with_the_right_one(
    database: Database, zone: str, meant: str
) -> None:
    project = database.project()
    with pytest.raises(psycopg.Error) as refused:
        database.rows("select * from zmesh.cron_preview('@daily', %s)", zone, url=project.url)
    assert refused.value.diag.message_hint == f"Did you mean {meant}?"


def test_a_time_zone_that_resembles_none_is_answered_with_how_to_write_one(database: Database) -> None:
    project = database.project()
    with pytest.raises(psycopg.Error) as refused:
        database.rows("select * from zmesh.cron_preview('@daily', 'Europe/Berln')", url=project.url)
    assert refused.value.diag.message_hint == "Use an IANA name such as Europe/Berlin or UTC."
