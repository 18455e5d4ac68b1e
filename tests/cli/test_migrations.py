"""`zmesh migrations`: files that are applied once each, in order, all or none."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from support.project_migrations import in_order
from tests.databases import Database, TestProject
from tests.platform import COMMANDS, clean_environment


class Folder:
    """A project's folder with its migrations."""

    def __init__(self, path: Path, database: Database) -> None:
        self.path = path
        self.database = database
        self.project: TestProject = database.project("shop")

    def write(self, name: str, sql: str) -> Path:
        file = self.path / "migrations" / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(sql.encode())
        return file

    def zmesh(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        variables = {**clean_environment(), "XDG_CONFIG_HOME": str(self.path), "ZMESH_DATABASE_URL": self.project.url}
        return COMMANDS.run(["migrations", *arguments], cwd=self.path, env=variables, stdin="")

    def states(self) -> dict[str, str]:
        return {one["name"]: one["state"] for one in json.loads(self.zmesh("status").stdout)}

    def applied(self) -> list[str]:
        done = self.zmesh("apply")
        assert done.returncode == 0, done.stderr
        return [one["name"] for one in json.loads(done.stdout)]

    def refused(self) -> str:
        done = self.zmesh("apply")
        assert (done.returncode, done.stdout) == (1, "")
        return done.stderr

    def tables(self) -> list[str]:
        query = "select relname from pg_class where relnamespace = current_schema()::regnamespace and relkind = 'r'"
        return sorted(row["relname"] for row in self.database.rows(query, url=self.project.url))


@pytest.fixture
def folder(tmp_path: Path, database: Database) -> Folder:
    return Folder(tmp_path, database)


def test_files_are_applied_once_in_the_order_of_their_numbers(folder: Folder) -> None:
    assert (folder.states(), folder.applied()) == ({}, [])
    folder.write("9_a.sql", "create table a (id int); -- ä😀\r\ninsert into a values (1)")
    folder.write("10_b.sql", "alter table a add column note text not null default 'x'; select * from a")
    assert folder.states() == {"9_a.sql": "pending", "10_b.sql": "pending"}
    assert folder.tables() == ["zmesh_migrations"]
    assert folder.applied() == ["9_a.sql", "10_b.sql"]
    assert folder.applied() == []
    assert folder.states() == {"9_a.sql": "applied", "10_b.sql": "applied"}
    assert folder.tables() == ["a", "zmesh_migrations"]
    folder.write("9_a.sql", "create table a (id int); -- ä😀\ninsert into a values (1)")  # other ends of lines
    assert folder.states()["9_a.sql"] == "applied"
    assert in_order("10_a.sql") < in_order("10_b.sql")


def test_an_error_undoes_all_and_has_its_place_in_the_file(folder: Folder) -> None:
    folder.write("1_a.sql", "create table a (id int)")
    folder.write("2_b.sql", "create table b (id int);\n  select nothing from a")
    assert folder.refused() == (
        'error: column "nothing" does not exist [42703]\n'
        "  migrations/2_b.sql:2:10\n    select nothing from a\n           ^\n"
    )
    assert folder.tables() == []


@pytest.mark.parametrize("ending", ["commit", "rollback", "do $$ begin commit; end $$"])
def test_a_migration_cannot_end_the_transaction(folder: Folder, ending: str) -> None:
    folder.write("1_a.sql", f"create table a (id int); {ending}; create table b (id int)")
    folder.refused()
    assert folder.tables() == []


def test_what_was_applied_must_stay_and_what_comes_later_must_be_later(folder: Folder) -> None:
    first = folder.write("2_a.sql", "create table a (id int)")
    folder.applied()
    early = folder.write("1_b.sql", "create table b (id int)")
    assert folder.states() == {"1_b.sql": "out_of_order", "2_a.sql": "applied"}
    assert "[migration_out_of_order]" in folder.refused()
    early.unlink()
    first.write_text("create table c (id int)")
    assert folder.states() == {"2_a.sql": "changed"}
    assert "[migration_changed]" in folder.refused()
    first.unlink()
    assert folder.states() == {"2_a.sql": "missing"}
    folder.write("3_c.sql", "create table c (id int)")
    assert "[migration_missing]" in folder.refused()
    assert folder.tables() == ["a", "zmesh_migrations"]


def test_a_migration_outside_of_a_transaction_comes_after_those_before_it(folder: Folder) -> None:
    folder.write("1_a.sql", "create table a (id int)")
    folder.write("2_b.sql", "-- zmesh: no transaction\ncreate index concurrently on a (id)")
    folder.write("3_c.sql", "create table c (id int); select 1/0")
    assert "division by zero (Applied before: 1_a.sql, 2_b.sql.) [22012]" in folder.refused()
    assert folder.tables() == ["a", "zmesh_migrations"]
    assert folder.states() == {"1_a.sql": "applied", "2_b.sql": "applied", "3_c.sql": "pending"}


def test_settings_of_a_migration_do_not_reach_the_next(folder: Folder) -> None:
    folder.write("1_a.sql", "set search_path = pg_temp; set statement_timeout = 1; create table a (id int)")
    folder.write("2_b.sql", "create table b (id int); select pg_sleep(0.01)")
    assert folder.applied() == ["1_a.sql", "2_b.sql"]
    assert folder.tables() == ["b", "zmesh_migrations"]


def test_a_table_that_is_locked_does_not_hold_up_others(folder: Folder) -> None:
    folder.write("1_a.sql", "create table a (id int)")
    folder.applied()
    folder.write("2_b.sql", "set local lock_timeout = '10ms'; alter table a add column b int")
    with folder.database.connect(folder.project.url) as connection, connection.transaction():
        connection.execute("select from a")
        assert "lock timeout [55P03]" in folder.refused()
    assert folder.applied() == ["2_b.sql"]


def test_new_files_have_the_next_number(folder: Folder) -> None:
    for name, file in (("Create orders!", "0001_create_orders.sql"), ("é-x", "0002_x.sql")):
        assert folder.zmesh("new", name).stdout == f"migrations/{file}\n"
        assert (folder.path / "migrations" / file).read_text() == f"-- {name}\n"
    assert "[bad_migration]" in folder.zmesh("new", "…").stderr
    folder.write("notes.sql", "")
    assert "[bad_migration]" in folder.refused()
