"""A project has an owner at any moment, even under concurrent changes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from uuid import UUID

import psycopg
import pytest

from tests.databases import Database, TestProject

LAST_OWNER = "ZM409"


def member(database: Database, project: TestProject, name: str, role: str = "owner") -> UUID:
    id: UUID = database.value(
        "insert into zmesh.users (email, password_hash) values (%s, 'x') returning id", f"{name}@example.org"
    )
    database.rows("insert into zmesh.memberships values (%s, %s, %s)", id, project.id, role)
    return id


def test_no_statement_takes_the_last_owner_away(database: Database) -> None:
    project = database.project()
    ada = member(database, project, "ada")
    member(database, project, "grace", "developer")
    for statement in (
        "delete from zmesh.memberships where user_id = %s",
        "update zmesh.memberships set role = 'viewer' where user_id = %s",
        "delete from zmesh.users where id = %s",
    ):
        with pytest.raises(psycopg.Error) as refused:
            database.rows(statement, ada)
        assert refused.value.sqlstate == LAST_OWNER
    assert database.value("select count(*) from zmesh.memberships where role = 'owner'") == 1


def test_one_statement_may_make_one_an_owner_and_the_other_none(database: Database) -> None:
    project = database.project()
    member(database, project, "ada")
    member(database, project, "grace", "developer")
    database.rows("update zmesh.memberships set role = case role when 'owner' then 'viewer' else 'owner' end")
    assert database.value("select count(*) from zmesh.memberships where role = 'owner'") == 1


def test_two_owners_who_remove_each_other_at_once_leave_one(database: Database) -> None:
    project = database.project()
    for turn in range(10):
        database.rows("delete from zmesh.users where id <> all (select user_id from zmesh.memberships)")
        pair = [member(database, project, f"{name}{turn}") for name in ("ada", "grace")]
        database.rows("delete from zmesh.memberships where user_id <> all (%s)", pair)
        both = Barrier(2)

        def remove(user: UUID, both: Barrier = both) -> str | None:
            with database.connect() as connection:
                both.wait()
                try:
                    connection.execute("select zmesh.remove_member(%s, %s)", (project.id, user))
                except psycopg.Error as error:
                    return error.sqlstate
            return None

        with ThreadPoolExecutor() as pool:
            assert sorted(pool.map(remove, pair), key=str) == [None, LAST_OWNER]


def test_a_project_goes_with_its_last_owner(database: Database) -> None:
    project = database.project()
    member(database, project, "ada")
    assert database.value("select zmesh.delete_project(%s)", project.id)
    assert database.value("select count(*) from zmesh.memberships") == 0
