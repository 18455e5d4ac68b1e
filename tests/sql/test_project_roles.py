"""The role that creates roles, with an administrator who is not a superuser, and with projects older than that role."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import psycopg
import pytest

from sql import accounts
from sql.migrate import migrate
from support.sealing import Sealer
from tests.databases import Database


@pytest.fixture
def administrator(server: str) -> Iterator[str]:
    """Connection string of a role that may create roles, owns an empty database, and is not a superuser."""
    name, password = f"zmesh_test_{secrets.token_hex(6)}", secrets.token_urlsafe(16)
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"create role {name} login createrole password '{password}'")
        connection.execute(f"create database {name} owner {name}")
        for role in ("zmesh_owner", "zmesh_project", "zmesh_provisioner", "zmesh_api", "zmesh_listener"):
            # As if it had created them itself; they belong to the whole server, and other tests were before.
            connection.execute(f"grant {role} to {name} with admin option")
        try:
            yield accounts.role_url(server, name, password).rpartition("/")[0] + f"/{name}"
        finally:
            connection.execute(f"drop database {name} with (force)")
            connection.execute(f"drop owned by {name} cascade")
            connection.execute(f"drop role {name}")


def test_an_administrator_without_more_rights_migrates_and_projects_come_and_go(
    administrator: str, migrated: str
) -> None:
    migrate(administrator)
    with psycopg.connect(administrator, autocommit=True) as connection:
        assert connection.execute("select rolsuper from pg_roles where rolname = current_user").fetchone() == (False,)
        sealer = Sealer(Sealer.new_key())
        project = accounts.create_project(connection, sealer, "Web shop")
        with psycopg.connect(accounts.project_url(connection, sealer, project, administrator)) as own:
            own.execute("create table orders (id integer)")
        assert connection.execute("select zmesh.delete_project(%s)", (project.id,)).fetchone() == (True,)
        assert connection.execute("select from pg_roles where rolname = %s", (project.role_name,)).fetchone() is None
    assert migrate(administrator).migrations == []


def test_projects_that_an_administrator_made_are_handed_to_the_provisioner(database: Database) -> None:
    suffix = secrets.token_hex(3)
    role, schema = f"zmesh_p_old_{suffix}", f"app_old_{suffix}"
    database.roles.append(role)
    for statement in (
        f"create role {role} login",
        f"grant zmesh_project to {role}",
        f"grant connect on database {database.admin_url.rpartition('/')[2]} to {role}",
        f"create schema {schema}",
        f"grant usage, create on schema {schema} to {role}",
        f"set role {role}; create table {schema}.orders (id integer)",
    ):
        database.rows(statement)
    query = "insert into zmesh.projects (name, slug, role_name, schema_name) values ('Old', 'old', %s, %s) returning id"
    id = database.value(query, role, schema)
    migrate(database.admin_url)
    assert database.value("select zmesh.delete_project(%s)", id, url=database.api_url)
    assert not database.rows("select 1 from pg_roles where rolname = %s", role)
    assert not database.rows("select 1 from pg_namespace where nspname = %s", schema)


def test_only_the_platform_creates_roles_and_only_project_roles(database: Database) -> None:
    project = database.project()
    create = "select zmesh_roles.create_project_role('zmesh_p_x', 'app_x', 'SCRAM-SHA-256$1:a$b:c')"
    for url in (database.api_url, database.listener_url, project.url):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            database.rows(create, url=url)
    for role, schema in (("postgres", "app_x"), ("zmesh_p_x; drop", "app_x"), ("zmesh_p_x", "zmesh")):
        with pytest.raises(psycopg.Error) as refused:
            database.rows("select zmesh_roles.create_project_role(%s, %s, 'SCRAM-SHA-256$1:a$b:c')", role, schema)
        assert refused.value.sqlstate == "ZM422"
        with pytest.raises(psycopg.Error) as refused:
            database.rows("select zmesh_roles.drop_project_role(%s, %s)", role, schema)
        assert refused.value.sqlstate == "ZM422"


def test_migrating_a_restored_database_lets_its_projects_connect(database: Database) -> None:
    """A dump has no rights on the database itself."""
    project = database.project()
    name = psycopg.conninfo.conninfo_to_dict(database.admin_url)["dbname"]
    database.rows(f"set role zmesh_provisioner; revoke all on database {name} from {project.role}")
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        database.connect(project.url)
    migrate(database.admin_url)
    assert database.value("select current_user", url=project.url) == project.role
