"""Projects go, whatever their role has made, has been granted or has left elsewhere."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import psycopg
import pytest

from sql import projects
from tests.databases import Database, TestProject


def delete(database: Database, project: TestProject) -> None:
    """As the API does it."""

    async def run() -> None:
        async with await psycopg.AsyncConnection.connect(database.api_url, autocommit=True) as connection:
            await projects.delete_project(connection, project.id)

    asyncio.run(run())


def role_of(database: Database, project: TestProject) -> list[dict[str, object]]:
    return database.rows("select rolcanlogin, rolpassword from pg_authid where rolname = %s", project.role)


GRANTS = {
    "a right": "grant all on {schema}.notes to {victim}",
    "a right to pass on": "grant select on {schema}.notes to {victim} with grant option",
    "a right on a function": "grant execute on function {schema}.f() to {victim}",
    "a right by default": "alter default privileges in schema {schema} grant all on tables to {victim}",
    "a policy": "create policy p on {schema}.notes to {victim} using (true)",
    "a policy for several": "create policy q on {schema}.notes to {victim}, current_user using (true)",
}


@pytest.mark.parametrize("grant", GRANTS.values(), ids=GRANTS)
def test_privileges_granted_by_another_project_do_not_prevent_deletion(database: Database, grant: str) -> None:
    victim, other = database.project("victim"), database.project("other")
    database.rows("create table notes (id integer)", url=other.url)
    database.rows("create function f() returns integer language sql return 1", url=other.url)
    database.rows(grant.format(schema=other.schema, victim=victim.role), url=other.url)

    delete(database, victim)

    assert role_of(database, victim) == []
    assert database.value("select count(*) from notes", url=other.url) == 0
    memberships = "select 1 from pg_auth_members where roleid = %s::regrole and member = 'zmesh_provisioner'::regrole"
    assert database.rows(f"{memberships} and grantor = 'zmesh_provisioner'::regrole", other.role) == []
    delete(database, other)
    assert database.rows("select * from zmesh.leftover_roles") == []


EVERYTHING = """
create domain d as integer;
create type kind as enum ('a', 'b');
create type pair as (a integer, b kind);
create type span as range (subtype = integer);
create table parents (id integer generated always as identity primary key, k kind, p pair, s span, d d);
create table children (id serial primary key, parent integer references parents);
create table parts (id integer) partition by range (id);
create table part_1 partition of parts for values from (0) to (10);
create view v as select * from parents;
create materialized view m as select * from v;
create function f(p parents) returns integer language sql return 1;
create procedure q() language sql as '';
create aggregate total(integer) (sfunc = int4pl, stype = integer);
create function same(kind, kind) returns boolean language sql return $1 = $2;
create operator === (leftarg = kind, rightarg = kind, function = same);
create cast (pair as text) with inout;
create statistics st (dependencies) on id, parent from children;
create text search dictionary dict (template = simple);
create text search configuration conf (copy = english);
create collation c (locale = 'C');
create policy p on children using (true);
create temporary table temporary (id integer);
alter default privileges grant select on tables to public;
select lo_create(0) from generate_series(1, 20)
"""


def test_a_role_goes_with_objects_of_every_kind(database: Database) -> None:
    project = database.project()
    with database.connect(project.url) as session:
        for statement in EVERYTHING.split(";"):
            session.execute(statement)
        delete(database, project)
    assert role_of(database, project) == []
    assert database.rows("select 1 from pg_namespace where nspname = %s", project.schema) == []
    assert database.value("select count(*) from pg_largeobject_metadata") == 0


def test_objects_are_dropped_in_batches_that_fit_the_lock_table(database: Database) -> None:
    project = database.project()
    database.rows(
        "do $$ begin for n in 1..1000 loop execute format('create table t_%s (id integer primary key)', n);"
        " if n % 100 = 0 then commit; end if; end loop; end $$",
        url=project.url,
    )
    dropped = "select zmesh.drop_objects(%s, 300)"
    with psycopg.connect(database.api_url) as connection:
        assert connection.execute(dropped, (project.id,)).fetchone() == (300,)
        [taken] = connection.execute("select count(*) from pg_locks where pid = pg_backend_pid()").fetchone() or (0,)
        connection.commit()
    assert 300 < taken < 2000
    assert database.value("select count(*) from pg_class where relkind = 'r' and relname ~ '^t_[0-9]+$'") == 700
    delete(database, project)
    assert role_of(database, project) == []


def test_more_privileges_than_the_lock_table_holds_do_not_prevent_deletion(database: Database) -> None:
    victim, other = database.project("victim"), database.project("other")
    for number in range(11):
        tables = f"generate_series({number * 100}, {number * 100 + 99})"
        database.rows(
            f"do $$ declare n integer; begin for n in select * from {tables} loop"
            f" execute format('create table t_%s (id integer); grant select on t_%s to {victim.role}', n, n);"
            " end loop; end $$",
            url=other.url,
        )
    delete(database, victim)
    assert database.rows("select 1 from zmesh.projects where id = %s", victim.id) == []
    assert role_of(database, victim) == [{"rolcanlogin": False, "rolpassword": None}]
    assert "more than 1000 privileges" in database.value("select reason from zmesh.leftover_roles")
    delete(database, other)


def test_functions_are_deleted_some_at_a_time(database: Database) -> None:
    project = database.project()
    for number in range(25):
        database.function(project, f"f {number}")
    assert database.value("select zmesh.drop_objects(%s, 200)", project.id, url=database.api_url) == 10
    delete(database, project)
    assert database.rows("select 1 from zmesh.functions") == []


@contextmanager
def another_database(server: str) -> Iterator[str]:
    name = f"zmesh_other_{secrets.token_hex(4)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"create database {name}")
        try:
            yield name
        finally:
            connection.execute(f"drop database {name} with (force)")


def test_a_role_with_objects_in_another_database_stays_without_any_rights_and_is_listed(
    database: Database, server: str
) -> None:
    project = database.project()
    with another_database(server) as other:
        url = project.url.rpartition("/")[0] + f"/{other}"
        database.rows("select lo_create(0)", url=url)
        delete(database, project)

        assert role_of(database, project) == [{"rolcanlogin": False, "rolpassword": None}]
        [left] = database.rows("select * from zmesh.leftover_roles")
        assert left["role_name"] == project.role
        assert other in left["reason"]
        assert database.rows("select 1 from pg_auth_members where member = %s::regrole", project.role) == []
        assert database.rows("select 1 from zmesh.projects") == []
        database.rows(f"drop owned by {project.role}", url=database.admin_url.rpartition("/")[0] + f"/{other}")


def test_a_role_that_an_administrator_granted_something_stays_without_any_rights_and_is_listed(
    database: Database,
) -> None:
    project = database.project()
    database.rows("create table public.rates (id integer)")
    database.rows(f"grant select on public.rates to {project.role}")
    delete(database, project)
    assert role_of(database, project) == [{"rolcanlogin": False, "rolpassword": None}]
    assert "rates" in database.value("select reason from zmesh.leftover_roles")
    database.rows(f"drop owned by {project.role}")


def test_a_session_that_locks_its_role_or_tables_does_not_prevent_deletion(database: Database) -> None:
    project = database.project()
    with psycopg.connect(project.url) as session:
        session.execute("create table notes (id integer)")
        session.commit()
        session.execute("lock table notes")
        session.execute("alter role current_user set work_mem = '1MB'")
        delete(database, project)
        session.close()
    assert role_of(database, project) == []


def queued(database: Database, function: UUID) -> int:
    count: int = database.value("select count(*) from zmesh.queue where function_id = %s", function)
    return count


def test_what_a_deleted_function_has_queued_is_cancelled_some_at_a_time(database: Database) -> None:
    project = database.project()
    function = database.function(project)
    database.enqueue(project, count=12_000)
    [running] = database.claim(database.listener(), 1)

    database.rows("select zmesh.delete_function(%s)", function, url=database.api_url)

    assert queued(database, function) == 11_000
    assert database.value("select cancel_requested from zmesh.queue where id = %s", running["id"])
    steps = [database.value("select zmesh.cancel_orphans()", url=database.listener_url) for _ in range(4)]
    assert steps == [5000, 5000, 999, 0]
    assert queued(database, function) == 1  # the one that runs ends when its listener says so
    messages = database.rows("select distinct error ->> 'message' as m from zmesh.history")
    assert messages == [{"m": 'function "greet" was deleted'}]
    assert database.rows("select * from zmesh.deleted_functions") == []


def test_a_project_with_a_long_queue_is_deleted_at_once(database: Database) -> None:
    project = database.project()
    function = database.function(project)
    database.enqueue(project, count=3000)
    delete(database, project)
    assert database.rows("select 1 from zmesh.projects") == []
    assert database.value("select zmesh.cancel_orphans()", url=database.listener_url) == 2000
    assert queued(database, function) == 0


def test_callbacks_of_a_deleted_project_are_not_sent(database: Database) -> None:
    project = database.project()
    database.function(project)
    database.enqueue(project, callback_url="https://example.com/")
    delete(database, project)
    assert database.rows("select * from zmesh.claim_callbacks(10, '{}')", url=database.listener_url) == []
    assert database.value("select status from zmesh.callbacks") == "failed"


def test_other_databases_are_closed_to_projects_but_not_to_other_roles(server: str, database: Database) -> None:
    from sql.migrate import migrate

    reader = f"zmesh_test_reader_{secrets.token_hex(4)}"
    project = database.project()
    with another_database(server) as other, psycopg.connect(server, autocommit=True) as administrator:
        administrator.execute(f"create role {reader} login")
        may = "select has_database_privilege(%s, %s, 'connect')"
        assert administrator.execute(may, (project.role, other)).fetchone() == (True,)

        migrate(database.admin_url)

        assert administrator.execute(may, (project.role, other)).fetchone() == (False,)
        assert administrator.execute(may, (reader, other)).fetchone() == (True,)
        administrator.execute(f"drop owned by {reader}")
        for name in administrator.execute("select datname from pg_database where datallowconn").fetchall():
            administrator.execute(f"revoke all on database {name[0]} from {reader}")
        administrator.execute(f"drop role {reader}")
