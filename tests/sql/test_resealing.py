"""Rotating ZMESH_SECRET_KEY while everything runs."""

from __future__ import annotations

import psycopg

from sql import accounts, secrets
from sql.accounts import password_purpose
from sql.registries import token_purpose
from sql.resealing import PLACES, reseal
from sql.webhooks import secret_purpose
from support.sealing import Sealer
from tests.databases import Database


def test_every_sealed_column_is_sealed_anew(database: Database) -> None:
    columns = database.rows(
        "select table_name, column_name from information_schema.columns"
        " where table_schema = 'zmesh' and data_type = 'bytea' and column_name like '%sealed%'"
    )
    assert {(place.table, place.column) for place in PLACES} == {tuple(column.values()) for column in columns}


def test_rotating_the_key_seals_everything_anew_and_loses_nothing(database: Database) -> None:
    project = database.project()
    old, new = database.secret_key, Sealer.new_key()
    function = database.function(project)
    sealer = Sealer(old)
    hook = database.value(
        "insert into zmesh.webhooks (project_id, function_id, name, token, preset, sealed_secret)"
        " values (%s, %s, 'hook', repeat('t', 32), 'github', '') returning id",
        project.id,
        function,
    )
    columns = "sealed_secret = %s, sealed_previous_secret = %s, previous_secret_valid_until = now()"
    database.rows(
        f"update zmesh.webhooks set {columns}",
        sealer.seal("whsec", secret_purpose(hook)),
        sealer.seal("before", secret_purpose(hook)),
    )
    for place in (None, function):
        sealed = sealer.seal("value", secrets.purpose(project.id, place, "TOKEN"))
        database.rows("select zmesh.set_secret(%s, %s, 'TOKEN', %s)", project.id, place, sealed)
    url = "https://packages.example/simple"
    token = sealer.seal("token", token_purpose(project.id, "python", "", url))
    database.rows("select zmesh.set_registry(%s, 'python', '', %s, %s)", project.id, url, token)
    both = Sealer(f"{new},{old}")
    with psycopg.connect(database.admin_url, autocommit=True) as connection:
        assert reseal(connection, both) == 6
        assert reseal(connection, both) == 0
        found = accounts.find_project(connection, "shop")
        assert found is not None
        assert accounts.project_url(connection, Sealer(new), found, database.admin_url) == project.url
    after = Sealer(new)
    row = database.row("select * from zmesh.webhooks")
    assert after.open(row["sealed_secret"], secret_purpose(hook)) == "whsec"
    assert after.open(row["sealed_previous_secret"], secret_purpose(hook)) == "before"
    for row in database.rows("select * from zmesh.secrets"):
        purpose = secrets.purpose(row["project_id"], row["function_id"], row["name"])
        assert after.open(row["sealed"], purpose) == "value"
    row = database.row("select * from zmesh.registries")
    assert after.open(row["sealed_token"], token_purpose(project.id, "python", "", url)) == "token"
    row = database.row("select d.sealed_password, p.role_name from zmesh.project_databases d, zmesh.projects p")
    assert after.open(row["sealed_password"], password_purpose(row["role_name"])) in project.url


def test_a_value_that_changes_during_rotation_is_not_overwritten(database: Database) -> None:
    project = database.project()
    old, new = database.secret_key, Sealer.new_key()
    purpose = secrets.purpose(project.id, None, "TOKEN")
    database.rows("select zmesh.set_secret(%s, null, 'TOKEN', %s)", project.id, Sealer(old).seal("before", purpose))

    class Interrupted(Sealer):
        def seal(self, secret: str, purpose: str) -> bytes:
            if secret == "before":
                changed = Sealer(old).seal("after", purpose)
                database.rows("select zmesh.set_secret(%s, null, 'TOKEN', %s)", project.id, changed)
            return super().seal(secret, purpose)

    with psycopg.connect(database.admin_url, autocommit=True) as connection:
        reseal(connection, Interrupted(f"{new},{old}"))
        assert Sealer(old).open(database.value("select sealed from zmesh.secrets"), purpose) == "after"
        assert reseal(connection, Sealer(f"{new},{old}")) == 1
    assert Sealer(new).open(database.value("select sealed from zmesh.secrets"), purpose) == "after"
