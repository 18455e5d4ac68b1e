"""Triggers that an older version created for table changes are replaced by the migration."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from sql.migrate import migrate
from tests.databases import Database, TestProject

# As the version before created them, which lost the place of every column behind a dropped one.
OLD_BODY = """
#variable_conflict use_column
begin if tg_op = 'UPDATE' then
        insert into zmesh.invocations (function, payload)
        select 'hear', pg_catalog.jsonb_build_object('type', 'UPDATE', 'schema', 'app', 'table', 'things',
                                                     'record', pg_catalog.to_jsonb(new), 'old_record', null)
          from (select r as row, row_number() over () as n from new_rows r) n
            join (select r as row, row_number() over () as n from old_rows r) o using (n)
            cross join lateral (select (n.row).*) as new cross join lateral (select (o.row).*) as old
         where (new.id > 0) and (new.c is distinct from old.c);
     end if; return null; end
"""


def old_trigger(project: TestProject, table: str, arguments: dict[str, Any]) -> None:
    with psycopg.connect(project.url) as connection:
        connection.execute(
            f"create function zmesh_change_hear_{table}() returns trigger language plpgsql security definer"
            f" set search_path = {project.schema}, pg_temp as $body${OLD_BODY}$body$"
        )
        connection.execute(
            f"create trigger zmesh_update_hear_1234 after update on {table} referencing old table as old_rows"
            f" new table as new_rows for each statement execute function zmesh_change_hear_{table}"
            f"('{json.dumps(arguments)}')"
        )


@pytest.fixture
def project(database: Database) -> TestProject:
    """A project whose tables `things` and `parts` have triggers of an older version."""
    project = database.project()
    database.function(project, "hear")
    arguments = {"function": "hear", "when": "new.id > 0", "columns": ["c"]}
    with psycopg.connect(project.url) as connection:
        connection.execute(
            "create table things (id int, a int, b int, c int); insert into things values (1, 10, 20, 30)"
        )
        connection.execute("alter table things drop column a")
        connection.execute("create table parts (id int, b int, c int) partition by list (id)")
        connection.execute("create table parts_1 partition of parts for values in (1)")
        connection.execute("insert into parts values (1, 20, 30)")
    old_trigger(project, "things", arguments)
    old_trigger(project, "parts", arguments)
    return project


def check_renewed(database: Database, project: TestProject) -> None:
    with psycopg.connect(project.url, autocommit=True) as connection:
        connection.execute("update things set b = 21")
        connection.execute("update things set c = 31")
        connection.execute("update parts_1 set c = 31")
    found = database.rows("select payload, source from zmesh.invocations order by payload ->> 'table'")
    assert [row["source"] for row in found] == ["change"] * 2
    assert [row["payload"]["record"] for row in found] == [{"id": 1, "b": 20, "c": 31}, {"id": 1, "b": 21, "c": 31}]
    assert [row["payload"]["schema"] for row in found] == [project.schema] * 2
    listed = database.rows(
        'select function, events, "when", columns from zmesh.changes where columns is not null', url=project.url
    )
    assert listed == [{"function": "hear", "events": ["UPDATE"], "when": "new.id > 0", "columns": ["c"]}] * 2


def test_a_migration_renews_them_once(database: Database, project: TestProject) -> None:
    migrate(database.admin_url)
    check_renewed(database, project)
    assert database.value("select zmesh.renew_changes()") == 0
    owners = database.rows(
        "select distinct proowner::regrole::text from pg_proc where proname like 'zmesh\\_change\\_hear%'"
    )
    assert owners == [{"proowner": project.role}]


def test_an_administrator_who_is_not_a_superuser_renews_them_too(database: Database, project: TestProject) -> None:
    database.rows("create role careful_admin login createrole password 'x'")
    database.roles.append("careful_admin")
    database.rows(
        "grant zmesh_provisioner to careful_admin; grant select on zmesh.projects to careful_admin;"
        " grant usage on schema zmesh to careful_admin"
    )
    database.rows("grant execute on all functions in schema zmesh to careful_admin")
    with psycopg.connect(make_conninfo(database.admin_url, user="careful_admin", password="x")) as connection:
        assert connection.execute("select zmesh.renew_changes()").fetchone() == (2,)
    check_renewed(database, project)


def test_one_that_cannot_be_renewed_stops_neither_the_others_nor_the_migration(
    database: Database, project: TestProject
) -> None:
    warnings: list[str] = []
    with psycopg.connect(project.url) as busy, database.connect() as connection:
        busy.execute("update things set b = 22")
        connection.add_notice_handler(lambda notice: warnings.append(notice.message_primary or ""))
        assert connection.execute("select zmesh.renew_changes()").fetchone() == {"renew_changes": 1}
        busy.rollback()
    assert ["things" in warning for warning in warnings] == [True]
    migrate(database.admin_url)
    check_renewed(database, project)


def test_triggers_with_a_deleted_function_or_an_outdated_condition_are_renewed_too(
    database: Database, project: TestProject
) -> None:
    with psycopg.connect(project.url) as connection:
        connection.execute("alter table things drop column c")
    database.rows("delete from zmesh.functions")
    assert database.value("select zmesh.renew_changes()") == 2
    with psycopg.connect(project.url) as connection:
        connection.execute("update things set b = 23")
    assert database.value("select count(*) from zmesh.invocations") == 0


def forged_trigger(project: TestProject, search_path: str, arguments: str) -> None:
    """One that looks like an old one of zmesh.on_change(), with a search path of the project's choice."""
    with psycopg.connect(project.url) as connection:
        connection.execute("create table forged (id int)")
        connection.execute("select set_config('search_path', %s, true)", (search_path,))
        connection.execute(
            f"create function {project.schema}.zmesh_change_forged() returns trigger language plpgsql"
            " set search_path from current as 'begin return null; end'"
        )
        connection.execute(
            f"create trigger zmesh_update_forged after update on {project.schema}.forged"
            f" for each statement execute function {project.schema}.zmesh_change_forged('{arguments}')"
        )


def test_a_search_path_of_a_project_is_never_run_as_statements_of_the_administrator(
    database: Database, project: TestProject
) -> None:
    statements = (
        "pg_temp as $x$begin return null; end$x$; reset role;"
        f" alter role {project.role} createrole;"
        f" create function {project.schema}.rest() returns trigger language plpgsql"
    )
    forged_trigger(project, statements.replace(" ", "/**/"), '{"function":"hear"}')
    migrate(database.admin_url)
    assert database.rows(f"select rolcreaterole from pg_roles where rolname = '{project.role}'") == [
        {"rolcreaterole": False}
    ]
    check_renewed(database, project)


@pytest.mark.parametrize(
    "arguments", ['{"function":"hear","layout":"two"}', '{"function":null}', '"function"', "no JSON"]
)
def test_arguments_that_no_version_wrote_do_not_stop_a_migration(
    database: Database, project: TestProject, arguments: str
) -> None:
    forged_trigger(project, "pg_temp", arguments)
    assert database.value("select zmesh.renew_changes()") == 2


def test_a_project_that_locks_many_tables_holds_a_migration_up_for_ten_locks_at_most(
    database: Database, project: TestProject
) -> None:
    tables = [f"many_{number}" for number in range(12)]
    for table in tables:
        with psycopg.connect(project.url) as connection:
            connection.execute(f"create table {table} (id int, c int)")
        old_trigger(project, table, {"function": "hear", "when": None, "columns": ["c"]})
    warnings: list[str] = []
    with psycopg.connect(project.url) as busy, database.connect() as connection:
        busy.execute(f"lock table {', '.join(tables)} in share mode")
        connection.add_notice_handler(lambda notice: warnings.append(notice.message_primary or ""))
        assert connection.execute("select zmesh.renew_changes()").fetchone() == {"renew_changes": 2}
        busy.rollback()
    assert sum("lock timeout" in warning for warning in warnings) == 10
    assert sum("too many locks" in warning for warning in warnings) == 2
