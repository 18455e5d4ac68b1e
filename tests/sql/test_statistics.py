"""Figures of functions: kept by the end of invocations, read without looking at history."""

from __future__ import annotations

from uuid import UUID

import pytest

from tests.databases import Database, TestProject

NOON = "2030-01-01 12:00:10Z"


@pytest.fixture
def project(database: Database) -> TestProject:
    database.stop_clock(NOON)
    return database.project()


def run(
    database: Database, project: TestProject, *ends: tuple[str, int, str | None], function: str = "greet"
) -> list[UUID]:
    """Invocations that end so: status, duration, message of the error."""
    listener = database.listener(100, "1 day")
    ids = database.enqueue(project, function, len(ends), max_attempts=1)
    for job, (status, duration_ms, message) in zip(database.claim(listener, 100), ends, strict=True):
        error = None if message is None else f'{{"type": "TypeError", "message": "{message}", "stack": null}}'
        assert database.finish(listener, job, status, duration_ms=duration_ms, error=error)
    return ids


def fold(database: Database, at: str) -> int:
    database.stop_clock(at)
    folded: int = database.value("select zmesh.fold_statistics()", url=database.listener_url)
    return folded


def test_ends_are_counted_by_minute_and_hour_with_histograms_of_their_times(
    database: Database, project: TestProject
) -> None:
    id = database.function(project)
    run(
        database, project, ("success", 1, None), ("success", 100, None), ("error", 100, "no"), ("timeout", 1000, "late")
    )
    assert fold(database, "2030-01-01 12:00:12Z") == 0  # not yet: the end can still be seen in zmesh.endings
    assert fold(database, "2030-01-01 12:00:13Z") == 4
    assert fold(database, "2030-01-01 12:00:14Z") == 0
    database.stop_clock("2030-01-01 12:01:30Z")
    run(database, project, ("success", 100, None))
    assert fold(database, "2030-01-01 12:02Z") == 1
    minutes = database.rows("select * from zmesh.statistics_by_minute where function_id = %s order by starts_at", id)
    [hour] = database.rows("select * from zmesh.statistics_by_hour where function_id = %s", id)
    names = ("version", "success", "error", "timeout", "cancelled", "run_ms", "cpu_ms")
    assert [[row[name] for name in names] for row in minutes] == [[1, 2, 1, 1, 0, 1201, 4], [1, 1, 0, 0, 0, 100, 1]]
    assert [hour[name] for name in names] == [1, 3, 1, 1, 0, 1301, 5]
    assert {n + 1: count for n, count in enumerate(hour["duration_ms"]) if count} == {1: 1, 21: 3, 31: 1}
    assert sum(hour["peak_memory_mb"]) == 5
    assert database.value("select count(*) from zmesh.endings") == 0


@pytest.mark.parametrize(("value", "bucket"), [(0, 1), (1, 1), (1.1, 2), (2, 4), (8, 10), (8.1, 11), (10**12, 100)])
def test_a_histogram_has_three_buckets_for_each_power_of_two(database: Database, value: float, bucket: int) -> None:
    assert database.value("select zmesh.bucket_of(%s::numeric)", value) == bucket


def test_what_never_ran_has_no_times(database: Database, project: TestProject) -> None:
    id = database.function(project)
    [invocation] = database.enqueue(project)
    database.value("select zmesh.cancel(array[%s::uuid])", invocation)
    assert fold(database, "2030-01-01 12:00:20Z") == 1
    row = database.row("select * from zmesh.statistics_by_minute where function_id = %s", id)
    assert (row["cancelled"], row["version"], row["duration_ms"], row["run_ms"]) == (1, 0, [], 0)


def test_an_attempt_that_is_followed_by_another_one_is_no_call(database: Database, project: TestProject) -> None:
    database.function(project)
    listener = database.listener(lease="1 day")
    database.enqueue(project, max_attempts=2)
    [job] = database.claim(listener)
    database.finish(listener, job, "error", error='{"type": "E", "message": "no"}')
    assert fold(database, "2030-01-01 12:00:20Z") == 0


def test_errors_that_differ_in_numbers_and_names_only_are_of_one_kind(database: Database, project: TestProject) -> None:
    database.function(project)
    run(
        database,
        project,
        ("error", 1, "no order 17 of 'Ada'"),
        ("error", 1, "no order 18 of 'Bob'"),
        ("error", 1, "no customer 3"),
        ("error", 1, "no order 0198c6d1-7f3a-7cc4-9d2e-5b1f0a6e4c11 of ''"),
    )
    fold(database, "2030-01-01 12:00:20Z")
    kinds = database.rows("select * from zmesh.errors_by_hour order by calls desc")
    assert [kind["calls"] for kind in kinds] == [3, 1]
    assert kinds[0]["type"] == "TypeError"
    assert kinds[0]["last_invocation_id"] is not None
    run(database, project, ("error", 1, "no order 5 of 'Cy'"))
    fold(database, "2030-01-01 12:00:40Z")
    [kind] = database.rows("select * from zmesh.errors_by_hour where calls > 1")
    assert (kind["calls"], kind["message"]) == (4, "no order 5 of 'Cy'")


def test_a_function_with_ever_new_errors_has_a_bounded_number_of_kinds(
    database: Database, project: TestProject
) -> None:
    database.function(project)
    for _ in range(3):
        letters = [f"{chr(97 + n // 26)}{chr(97 + n % 26)}x" for n in range(60 * _, 60 * _ + 60)]
        run(database, project, *[("error", 1, f"kind {word}") for word in letters])
        fold(database, f"2030-01-01 12:0{_ + 1}:00Z")
    kinds = database.rows("select calls, type from zmesh.errors_by_hour")
    assert len(kinds) == 101
    assert [kind["calls"] for kind in kinds if kind["type"] == "other"] == [80]


def test_statistics_are_kept_for_a_bounded_time(database: Database, project: TestProject) -> None:
    database.function(project)
    run(database, project, ("error", 1, "no"))
    fold(database, "2030-01-01 12:00:20Z")

    def kept(at: str) -> list[int]:
        fold(database, at)
        tables = ("statistics_by_minute", "statistics_by_hour", "errors_by_hour")
        return [database.value(f"select count(*) from zmesh.{table}") for table in tables]

    assert kept("2030-01-02 12:59Z") == [2, 2, 1]  # the function and its project
    assert kept("2030-01-02 13:01Z") == [0, 2, 1]
    assert kept("2030-02-01 13:01Z") == [0, 0, 0]


def test_one_listener_at_a_time_folds_and_nothing_waits(database: Database, project: TestProject) -> None:
    database.function(project)
    run(database, project, ("success", 1, None))
    with database.connect() as other, other.transaction():
        other.execute("select * from zmesh.statistics_folding for update")
        assert fold(database, "2030-01-01 12:00:20Z") == 0
        run(database, project, ("success", 1, None))  # no end waits for it
    assert fold(database, "2030-01-01 12:00:40Z") == 2


def test_drafts_are_not_counted(database: Database, project: TestProject) -> None:
    id = database.function(project)
    code = '{"language": "python", "entry_point": "handler", "code": "", "files": {}}'
    version = database.value("select zmesh.save_draft(%s, %s)", id, code)
    database.enqueue(project, version=version)
    listener = database.listener(100, "1 day")
    [job] = database.claim(listener, 100)
    database.finish(listener, job)
    assert (job["version"], fold(database, "2030-01-01 12:00:20Z")) == (-1, 0)
    assert database.value("select count(*) from zmesh.endings") == 0
