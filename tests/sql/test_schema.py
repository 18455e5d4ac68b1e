"""sql/schema/ is the database, and migrations bring every earlier one to it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sql.migrate import migrate
from tests.conftest import API_PASSWORD, LISTENER_PASSWORD
from tests.databases import Database
from tests.releases import DUMPS, restored
from tests.sql.catalogs import catalogs_of, differences

SOURCES = Path(__file__).parent.parent.parent / "sql"
CHANGES = (
    "alter table zmesh.projects add column color text",
    "alter table zmesh.projects alter column name set default 'shop'",
    "alter table zmesh.projects alter column max_running drop not null",
    "alter table zmesh.queue drop constraint invocations_priority_is_small",
    "alter table zmesh.queue set (fillfactor = 90)",
    "alter type zmesh.outcome add attribute color text",
    "create index on zmesh.projects (name)",
    "comment on column zmesh.projects.max_running is 'How many may run.'",
    "grant insert on zmesh.projects to zmesh_listener",
    "grant update (name) on zmesh.projects to zmesh_listener",
    "grant execute on function zmesh.reap() to zmesh_api",
    "alter table zmesh.logs disable row level security",
    "alter policy own_project on zmesh.logs using (true)",
    "alter table zmesh.queue disable trigger invocations_prepare",
    "create function zmesh.forgotten() returns integer language sql return 1",
    "alter function zmesh.reap() reset all",
    "alter default privileges for role zmesh_owner grant execute on functions to public",
    "drop view zmesh.changes",
)


@pytest.mark.parametrize("dump", DUMPS, ids=lambda dump: dump.name.removesuffix(".sql.gz"))
def test_a_migrated_database_is_the_same_as_a_new_one(dump: Path, server: str, database: Database) -> None:
    with restored(server, dump, API_PASSWORD, LISTENER_PASSWORD) as old:
        migrate(old.admin_url)
        with old.connect() as migrated, database.connect() as new:
            assert differences(catalogs_of(migrated), catalogs_of(new)) == []


def test_the_comparison_sees_every_kind_of_change(database: Database) -> None:
    with database.connect() as connection:
        before = catalogs_of(connection)
        unseen = []
        for change in CHANGES:
            with connection.transaction(force_rollback=True):
                connection.execute(change.encode())
                if not differences(before, catalogs_of(connection)):
                    unseen.append(change)
    assert unseen == []


def test_only_roles_named_in_a_file_may_execute_a_function(database: Database) -> None:
    public = database.rows(
        "select p.oid::regprocedure from pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a"
        " where p.pronamespace in ('zmesh'::regnamespace, 'zmesh_roles'::regnamespace) and a.grantee = 0"
    )
    assert public == []


def test_a_right_that_no_file_grants_any_more_is_gone_after_a_migration(database: Database) -> None:
    database.rows("grant execute on function zmesh.reap() to zmesh_api")
    database.rows("update zmesh.migrations set checksum = 'older' where name = 'routines/33_leases.sql'")
    assert str(migrate(database.admin_url)).endswith("routines renewed")
    assert not database.value("select has_function_privilege('zmesh_api', 'zmesh.reap()', 'execute')")
    assert str(migrate(database.admin_url)).endswith("up to date")


def test_the_api_writes_through_routines_except_that_it_inserts_what_others_may_insert(database: Database) -> None:
    writes = database.rows(
        "select distinct c.relname || ' ' || p as write"
        "  from pg_class c, unnest('{insert,update,delete}'::text[]) p"
        " where c.relnamespace = 'zmesh'::regnamespace and c.relkind in ('r', 'p') and case p"
        "       when 'delete' then has_table_privilege('zmesh_api', c.oid, p)"
        "       else has_any_column_privilege('zmesh_api', c.oid, p) end order by 1"
    )
    assert [row["write"] for row in writes] == [
        "invocations insert",
        "schedule_runs insert",
        "webhook_deliveries insert",
    ]


def test_no_python_writes_by_itself() -> None:
    write = re.compile(r"insert into|update zmesh|delete from|update \{|set \{")
    modules = {
        path.name
        for path in (Path(__file__).parent.parent.parent / "sql").glob("*.py")
        if write.search(path.read_text())
    }
    # To enqueue is to insert; and what a migration records of itself can be in no routine yet.
    assert modules == {"invocations.py", "migrate.py"}
