"""Versions that must not run again, and what may be tried again."""

from __future__ import annotations

from uuid import UUID

import psycopg
import pytest

from tests.databases import Database, TestProject

FAILED = '{"type": "E"}'


def three_versions(database: Database) -> tuple[TestProject, UUID]:
    project = database.project()
    function = database.function(project, code="one", max_attempts=3, retry_base_ms=1, retry_max_ms=1)
    for code in ("two", "three"):
        database.rows("update zmesh.functions set code = %s where id = %s", code, function)
    return project, function


def retire(database: Database, function: UUID, version: int) -> None:
    database.rows("select zmesh.retire_version(%s, %s)", function, version, url=database.api_url)


def refused(database: Database, statement: str, *values: object, match: str = "is retired") -> None:
    with pytest.raises(psycopg.Error, match=match) as error:
        database.rows(statement, *values, url=database.api_url)
    assert error.value.sqlstate == "ZM409"


def test_a_retired_version_is_started_by_no_insert_alias_or_rollback(database: Database) -> None:
    project, function = three_versions(database)
    retire(database, function, 1)
    with pytest.raises(psycopg.Error, match='version 1 of function "greet" is retired') as error:
        database.enqueue(project, version=1)
    assert error.value.sqlstate == "ZM409"
    refused(database, "select zmesh.rollback(%s, 1)", function)
    refused(database, "select zmesh.set_alias(%s, 'live', '{1,2}', '{50,50}')", function)
    database.enqueue(project, version=2)
    database.rows("select zmesh.unretire_version(%s, 1)", function, url=database.api_url)
    database.enqueue(project, version=1)
    assert sorted(job["code"] for job in database.claim(database.listener())) == ["one", "two"]


def test_invocations_queued_for_a_retired_version_are_cancelled_when_claimed(database: Database) -> None:
    project, function = three_versions(database)
    [pinned], [other] = database.enqueue(project, version=1), database.enqueue(project)
    retire(database, function, 1)
    assert [job["id"] for job in database.claim(database.listener())] == [other]
    ended = database.invocation(pinned)
    assert (ended["status"], ended["error"]["type"]) == ("cancelled", "version_retired")
    assert ended["error"]["message"] == 'version 1 of function "greet" is retired'


def test_a_running_attempt_of_a_retired_version_may_finish_and_gets_no_other(database: Database) -> None:
    project, function = three_versions(database)
    [failing], [given_back] = database.enqueue(project, version=1), database.enqueue(project, version=1)
    listener = database.listener()
    jobs = {job["id"]: job for job in database.claim(listener)}
    retire(database, function, 1)
    database.finish(listener, jobs[failing], "error", error=FAILED)
    database.rows("select zmesh.give_back(%s, '{}')", listener, url=database.listener_url)
    database.rows("update zmesh.queue set run_at = zmesh.now(), due = true")
    assert database.claim(listener) == []
    for id in (failing, given_back):
        assert database.invocation(id)["error"]["type"] == "version_retired"


def test_only_what_may_run_again_is_listed_as_dead(database: Database) -> None:
    project, function = three_versions(database)
    [pinned] = database.enqueue(project, version=1, max_attempts=1)
    [current] = database.enqueue(project, max_attempts=1)
    database.function(project, "gone")
    [orphan] = database.enqueue(project, "gone", max_attempts=1)
    listener = database.listener()
    for job in database.claim(listener):
        database.finish(listener, job, "error", error=FAILED)
    database.rows("delete from zmesh.functions where slug = 'gone'")
    retire(database, function, 1)
    dead = "select id from zmesh.dead_invocations"
    assert [row["id"] for row in database.rows(dead, url=database.api_url)] == [current]
    assert [row["id"] for row in database.rows(dead, url=project.url)] == [current]
    retried = database.rows("select zmesh.retry(%s) as id", [pinned, current, orphan], url=database.api_url)
    assert [row["id"] for row in retried] == [current]
    database.rows("select zmesh.unretire_version(%s, 1)", function, url=database.api_url)
    assert [row["id"] for row in database.rows(dead, url=project.url)] == [pinned]


def test_what_has_had_a_hundred_attempts_is_not_listed_as_dead(database: Database) -> None:
    project, _ = three_versions(database)
    [id] = database.enqueue(project, max_attempts=1)
    listener = database.listener()
    [job] = database.claim(listener)
    database.finish(listener, job, "error", error=FAILED)
    database.rows("update zmesh.history set attempt = 100, max_attempts = 100 where id = %s", id)
    assert database.rows("select id from zmesh.dead_invocations") == []


def test_the_current_version_and_one_that_an_alias_names_cannot_be_retired(database: Database) -> None:
    project, function = three_versions(database)
    database.rows("select zmesh.set_alias(%s, 'live', '{2}', '{100}')", function, url=database.api_url)
    refused(database, "select zmesh.retire_version(%s, 3)", function, match="is the current version")
    refused(database, "select zmesh.retire_version(%s, 2)", function, match='the alias "live" points to version 2')
    with pytest.raises(psycopg.Error, match="version 9 does not exist"):
        retire(database, function, 9)
    with pytest.raises(psycopg.Error, match="permission denied"):
        database.rows("select zmesh.retire_version(%s, 1)", function, url=project.url)
    with pytest.raises(psycopg.Error, match="permission denied"):
        database.rows("select zmesh.unretire_version(%s, 1)", function, url=project.url)
