"""Which version an invocation runs: pinned ones, aliases and their shares."""

from __future__ import annotations

from collections import Counter
from uuid import UUID

import psycopg
import pytest

from tests.databases import Database, Row, TestProject


def three_versions(database: Database) -> tuple[TestProject, UUID]:
    project = database.project()
    function = database.function(project, code="one", max_attempts=3, retry_base_ms=1, retry_max_ms=1)
    for code in ("two", "three"):
        database.rows("update zmesh.functions set code = %s where id = %s", code, function)
    return project, function


def set_alias(database: Database, function: UUID, name: str, **shares: int) -> None:
    versions = [int(version[1:]) for version in shares]
    url = database.api_url
    database.rows("select zmesh.set_alias(%s, %s, %s, %s)", function, name, versions, list(shares.values()), url=url)


def claim_again(database: Database, listener: UUID) -> Row:
    database.rows("update zmesh.queue set run_at = zmesh.now(), due = true")
    [job] = database.claim(listener)
    return job


def test_a_pinned_invocation_runs_its_version_and_any_other_the_current_one(database: Database) -> None:
    project, _ = three_versions(database)
    database.enqueue(project, version=1)
    database.enqueue(project, version=3)
    database.enqueue(project)
    jobs = database.claim(database.listener())
    assert sorted((job["version"], job["code"]) for job in jobs) == [(1, "one"), (3, "three"), (3, "three")]


def test_a_version_or_alias_that_is_not_there_is_refused_at_the_insert(database: Database) -> None:
    project, function = three_versions(database)
    set_alias(database, function, "stable", v1=100)
    for column, value in (("version", 9), ("alias", "beta")):
        with pytest.raises(psycopg.Error, match=f'"greet" has no {column}') as refused:
            database.enqueue(project, **{column: value})
        assert refused.value.sqlstate == "ZM404"
    with pytest.raises(psycopg.Error, match="not both"):
        database.enqueue(project, version=1, alias="stable")


def test_every_attempt_runs_the_version_that_was_chosen_at_the_insert(database: Database) -> None:
    project, function = three_versions(database)
    set_alias(database, function, "live", v1=100)
    [id] = database.enqueue(project)
    set_alias(database, function, "live", v2=100)
    listener = database.listener()
    [job] = database.claim(listener)
    database.finish(listener, job, "error", error='{"type": "E"}')
    job = claim_again(database, listener)
    assert (job["attempt"], job["code"]) == (2, "one")
    database.finish(listener, job, "error", error='{"type": "E"}')
    database.finish(listener, claim_again(database, listener), "error", error='{"type": "E"}')
    [retried] = database.rows("select zmesh.retry(array[%s::uuid]) as id", id)
    assert retried["id"] == id
    [job] = database.claim(listener)
    assert (job["attempt"], job["version"], job["code"]) == (4, 1, "one")
    database.finish(listener, job)
    ended = database.invocation(id)
    assert (ended["alias"], ended["version"], ended["pinned"]) == ("live", 1, True)
    assert [(a["attempt"], a["status"], a["version"]) for a in ended["earlier_attempts"]] == [
        (n, "error", 1) for n in (1, 2, 3)
    ]


def test_an_unpinned_invocation_is_retried_with_the_current_code(database: Database) -> None:
    project, function = three_versions(database)
    [id] = database.enqueue(project)
    listener = database.listener()
    [job] = database.claim(listener)
    database.finish(listener, job, "error", error='{"type": "E"}')
    database.rows("update zmesh.functions set code = 'four' where id = %s", function)
    assert claim_again(database, listener)["code"] == "four"
    assert database.invocation(id)["earlier_attempts"][0]["version"] == 3


def test_an_alias_shares_the_invocations_out_as_it_says(database: Database) -> None:
    project, function = three_versions(database)
    set_alias(database, function, "live", v1=90, v3=10)
    set_alias(database, function, "beta", v2=100)
    database.enqueue(project, count=1000)
    shares = Counter(
        row["version"] for row in database.rows("select version from zmesh.queue where alias = 'live' and pinned")
    )
    assert set(shares) == {1, 3}
    assert 840 < shares[1] < 960  # six standard deviations
    [id] = database.enqueue(project, alias="beta")
    assert database.invocation(id)["version"] == 2


def test_schedules_follow_the_alias_live(database: Database) -> None:
    project, function = three_versions(database)
    set_alias(database, function, "live", v2=100)
    database.stop_clock("2026-05-01 09:59:30+00")
    database.rows(
        "insert into zmesh.schedules (project_id, name, function, cron) values (%s, 'hourly', 'greet', '0 * * * *')",
        project.id,
    )
    database.stop_clock("2026-05-01 10:00:01+00")
    database.rows("select zmesh.tick()")
    [job] = database.claim(database.listener(lease="1 year"))
    assert (job["version"], job["code"]) == (2, "two")


def test_the_shares_of_an_alias_name_existing_versions_and_add_up_to_100(database: Database) -> None:
    _, function = three_versions(database)
    with pytest.raises(psycopg.Error, match="add up to 90 percent"):
        set_alias(database, function, "live", v1=90)
    with pytest.raises(psycopg.Error, match="version 7 does not exist"):
        set_alias(database, function, "live", v1=90, v7=10)
    with pytest.raises(psycopg.errors.CheckViolation):
        set_alias(database, function, "live", v1=100, v2=0)
    with pytest.raises(psycopg.errors.UniqueViolation):
        database.rows("select zmesh.set_alias(%s, 'live', '{1,1}', '{50,50}')", function)
    assert database.rows("select * from zmesh.function_aliases") == []


def test_one_session_inserts_with_and_without_a_version_by_turns(database: Database) -> None:
    project, function = three_versions(database)
    set_alias(database, function, "stable", v1=100)
    parent = database.enqueue(project)[0]
    database.claim(database.listener())
    columns: list[Row] = [{}, {"version": 2}, {"alias": "stable"}, {"idempotency_key": "a"}, {"parent_id": parent}]
    with database.connect(project.url) as connection:
        for n, given in enumerate([*columns, *columns, *reversed(columns)]):
            values = {"function": "greet", **given, **({"idempotency_key": f"k{n}"} if n % 2 else {})}
            marks = ", ".join(["%s"] * len(values))
            query = f"insert into zmesh.invocations ({', '.join(values)}) values ({marks})"
            connection.execute(query.encode(), list(values.values()))
    assert database.value("select count(*) from zmesh.queue where pinned") == 6


@pytest.mark.parametrize(("setting", "value"), [("style", "lambda"), ("init", "once")])
def test_how_code_is_loaded_and_called_belongs_to_its_version(database: Database, setting: str, value: str) -> None:
    function = database.function(database.project(), code="one", **{setting: value})
    database.rows(f"update zmesh.functions set {setting} = null where id = %s", function)
    saved = database.row(f"select version, {setting} from zmesh.function_versions where function_id = %s", function)
    assert saved == {"version": 1, setting: value}
    database.rows("select zmesh.rollback(%s, 1)", function)
    assert database.row(f"select version, {setting} from zmesh.functions where id = %s", function) == {
        "version": 3,
        setting: value,
    }
