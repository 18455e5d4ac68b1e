"""Functions and their versions, in plain SQL."""

from __future__ import annotations

import psycopg
import pytest

from tests.databases import Database


def versions(database: Database, function: object) -> list[tuple[int, str]]:
    rows = database.rows(
        "select version, code from zmesh.function_versions where function_id = %s order by version", function
    )
    return [(row["version"], row["code"]) for row in rows]


def test_a_plain_sql_update_of_the_code_is_snapshotted(database: Database) -> None:
    function = database.function(database.project(), code="one")
    database.rows("update zmesh.functions set code = 'two' where id = %s", function)
    assert versions(database, function) == [(1, "one")]
    assert database.value("select version from zmesh.functions where id = %s", function) == 2


def test_a_change_of_configuration_makes_no_version(database: Database) -> None:
    function = database.function(database.project())
    database.rows('update zmesh.functions set timeout_ms = 5, env_vars = \'{"A": "b"}\' where id = %s', function)
    assert versions(database, function) == []
    assert database.value("select version from zmesh.functions where id = %s", function) == 1


def test_nobody_chooses_the_version_number(database: Database) -> None:
    function = database.function(database.project(), version=77)
    database.rows("update zmesh.functions set version = 99, code = 'two' where id = %s", function)
    assert database.value("select version from zmesh.functions where id = %s", function) == 2


def test_a_rollback_can_be_rolled_back(database: Database) -> None:
    function = database.function(database.project(), code="one")
    database.rows("update zmesh.functions set code = 'two' where id = %s", function)
    rolled_back = database.row("select * from zmesh.rollback(%s, 1)", function)
    assert (rolled_back["code"], rolled_back["version"]) == ("one", 3)
    assert versions(database, function) == [(1, "one"), (2, "two")]
    again = database.row("select * from zmesh.rollback(%s, 2)", function)
    assert (again["code"], again["version"]) == ("two", 4)


def test_rolling_back_to_what_was_never_saved_is_refused(database: Database) -> None:
    function = database.function(database.project())
    with pytest.raises(psycopg.Error, match="version 9 does not exist") as refused:
        database.rows("select zmesh.rollback(%s, 9)", function)
    assert refused.value.sqlstate == "ZM404"
    with pytest.raises(psycopg.Error, match="version 1 is the current version") as refused:
        database.rows("select zmesh.rollback(%s, 1)", function)
    assert refused.value.sqlstate == "ZM409"


@pytest.mark.parametrize(
    ("name", "slug"),
    [("send-welcome", "send-welcome"), ("Send Welcome!", "send-welcome"), ("__a__B", "a-b"), ("Größe 2", "grosse-2")],
)
def test_the_slug_is_derived_from_the_name(database: Database, name: str, slug: str) -> None:
    function = database.function(database.project(), name=name)
    assert database.value("select slug from zmesh.functions where id = %s", function) == slug


def test_a_name_without_letters_or_digits_is_refused(database: Database) -> None:
    project = database.project()
    with pytest.raises(psycopg.Error, match="cannot derive a slug"):
        database.function(project, name="!!!")


@pytest.mark.parametrize(
    ("column", "value"),
    [("timeout_ms", 0), ("timeout_ms", 3_600_000), ("memory_mb", 1), ("language", "ruby"), ("env_vars", "[]")],
)
def test_impossible_values_are_refused_by_the_schema(database: Database, column: str, value: object) -> None:
    project = database.project()
    with pytest.raises(psycopg.errors.CheckViolation):
        database.function(project, **{column: value})


def test_deleting_a_function_cancels_its_queued_jobs(database: Database) -> None:
    project = database.project()
    function = database.function(project)
    [queued] = database.enqueue(project)
    database.rows("delete from zmesh.functions where id = %s", function)
    ended = database.invocation(queued)
    assert ended["status"] == "cancelled"
    assert ended["error"]["message"] == 'function "greet" was deleted'
    assert database.value("select count(*) from zmesh.queue") == 0


def test_deleting_a_function_asks_its_running_jobs_to_stop(database: Database) -> None:
    project = database.project()
    function = database.function(project)
    [id] = database.enqueue(project)
    listener = database.listener()
    [job] = database.claim(listener)
    database.rows("delete from zmesh.functions where id = %s", function)
    to_cancel = database.rows("select zmesh.renew_lease(%s, '1 minute') as id", listener, url=database.listener_url)
    assert [row["id"] for row in to_cancel] == [id]
    assert database.finish(listener, job, "cancelled")
    assert database.invocation(id)["status"] == "cancelled"


def test_another_name_with_the_same_slug_is_refused_and_both_are_named(database: Database) -> None:
    project = database.project()
    database.function(project, name="send_mail")
    with pytest.raises(psycopg.errors.UniqueViolation) as refused:
        database.function(project, name="send-mail")
    assert refused.value.diag.message_primary == (
        'the name "send-mail" gives the slug "send-mail", which function "send_mail" already has'
    )
    database.function(database.project("other"), name="send-mail")
