"""Attacks by a project's role in the database, where every function has its own session."""

from __future__ import annotations

import psycopg
import pytest

from tests.databases import Database


def test_no_function_of_the_platform_looks_up_names_where_others_can_put_some(database: Database) -> None:
    """Without pg_temp at the end, the caller's temporary schema comes first for tables and types."""
    unsafe = database.rows(
        "select oid::regprocedure::text from pg_proc where prosecdef and pronamespace = 'zmesh'::regnamespace"
        " and not coalesce(proconfig, '{}') @> array['search_path=pg_catalog, pg_temp']"
    )

    assert unsafe == []


STATEMENTS = [
    "insert into zmesh.invocations (function, payload) values ('greet', '{}')",
    "insert into zmesh.invocations (function, idempotency_key) values ('greet', 'k')",
    "insert into zmesh.schedules (function, cron) values ('greet', '* * * * *')",
    "select zmesh.cron_preview('* * * * *', 'UTC', 1, now())",
]
TYPES = ("jsonb", "timestamptz", "interval", "uuid", "int8", "int4", "bool", "text")


def test_a_temporary_type_runs_no_code_as_the_platforms_owner(database: Database) -> None:
    """What is called text, uuid or integer in a function that has more rights than its caller."""
    attacker = database.project("eve")
    database.function(attacker, "greet")
    database.rows(
        "create function spy(anyelement) returns boolean language plpgsql as $$ begin"
        " insert into pg_temp.seen values (current_user); return true; end $$",
        url=attacker.url,
    )
    for statement in STATEMENTS:
        with database.connect(attacker.url) as session:
            session.execute("create table pg_temp.seen (who pg_catalog.name)")
            session.execute("grant all on pg_temp.seen to public")
            for name in TYPES:
                check = f"check ({attacker.schema}.spy(value))"
                session.execute(f"create domain pg_temp.{name} as pg_catalog.{name} {check}")

            session.execute(statement)

            seen = {row["who"] for row in session.execute("select distinct who from pg_temp.seen").fetchall()}
            assert seen <= {attacker.role}, statement


def test_what_a_project_raises_does_not_fill_the_servers_log(database: Database) -> None:
    attacker = database.project("eve")
    with database.connect(attacker.url) as session:
        levels = "select current_setting('log_min_messages') as m, current_setting('log_min_error_statement') as s"
        assert session.execute(levels).fetchone() == {"m": "fatal", "s": "panic"}
        for statement in (
            "set log_min_messages = debug5",
            "alter role current_user reset log_min_messages",
            "alter role current_user set log_min_error_statement = error",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                session.execute(statement)
        session.execute("alter role current_user reset all")
    with database.connect(attacker.url) as session:
        assert session.execute("show log_min_messages").fetchone() == {"log_min_messages": "fatal"}


@pytest.mark.parametrize("argument", ["no json {", "[]", "1", '{"function": 5, "columns": "all"}', "\\", "é"])
def test_what_a_project_writes_into_a_trigger_breaks_no_list_of_changes(database: Database, argument: str) -> None:
    attacker, neighbour = database.project("eve"), database.project("bob")
    database.function(neighbour, "greet")
    database.rows("create table orders (id integer)", url=neighbour.url)
    database.rows("select zmesh.on_change('orders', 'greet')", url=neighbour.url)
    database.rows("create table traps (id integer)", url=attacker.url)
    database.rows(
        "create function zmesh_change_trap() returns trigger language plpgsql as 'begin return null; end'",
        url=attacker.url,
    )
    database.rows(
        "create trigger zmesh_change_trap after insert on traps"
        f" for each statement execute function zmesh_change_trap('{argument}')",
        url=attacker.url,
    )
    assert [row["function"] for row in database.rows("select * from zmesh.changes", url=neighbour.url)] == ["greet"]
    assert isinstance(database.rows("select * from zmesh.changes", url=attacker.url), list)


def test_objects_that_would_outlive_every_project_are_refused_or_dropped(database: Database) -> None:
    attacker = database.project("eve")
    modern = database.value("select current_setting('server_version_num')::integer >= 160000")
    attempts = (
        "set role zmesh_project; select lo_create(0); reset role",
        "select lo_create(0); reassign owned by current_user to zmesh_project",
    )
    for attempt in attempts:
        if modern:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                database.rows(attempt, url=attacker.url)
        else:
            database.rows(attempt, url=attacker.url)
    database.rows("select zmesh.maintain()", url=database.listener_url)
    assert database.value("select count(*) from pg_largeobject_metadata") == 0


def test_a_temporary_table_holds_up_the_freezing_of_transactions_for_no_longer_than_it_may(database: Database) -> None:
    attacker, neighbour = database.project("eve"), database.project("bob")
    end = "select zmesh.end_owners_of_old_temporary_tables(%s)"
    with database.connect(attacker.url) as session, database.connect(neighbour.url) as other:
        session.execute("create temporary table old (id integer)")
        database.rows("create table later (id integer)", url=neighbour.url)  # a transaction more
        assert database.rows(end, 1_000_000) == []
        assert len(database.rows(end, 0)) == 1
        other.execute("select 1")
        with pytest.raises(psycopg.OperationalError):
            session.execute("select 1")


def test_a_snapshot_that_transactions_pass_on_is_not_kept_for_ever(database: Database) -> None:
    """No transaction was old, but no dead row of the platform could be removed."""
    attacker, neighbour = database.project("eve"), database.project("bob")
    harmful = "select role_name, why from zmesh.harmful_sessions()"
    maintain_later = "update zmesh.upkeep set last_run_at = null, horizon_at = horizon_at - interval '1 hour'"
    begin = "begin isolation level repeatable read"
    with database.connect(attacker.url) as first, database.connect(attacker.url) as second:
        first.execute(begin)
        snapshot = first.execute("select pg_export_snapshot() as id").fetchone()
        assert snapshot is not None
        database.rows("create table later (id integer)", url=neighbour.url)  # a transaction more
        database.rows("select zmesh.maintain()")
        second.execute(begin)
        second.execute(f"set transaction snapshot '{snapshot['id']}'")
        first.execute("rollback")
        with database.connect(neighbour.url) as other:
            other.execute(begin)
            other.execute("select 1")
            assert database.rows(harmful) == []
            database.rows(maintain_later)
            database.rows("select zmesh.maintain()")
            assert database.rows(harmful) == [{"role_name": attacker.role, "why": "kept one snapshot for an hour"}]


def test_an_operator_is_told_what_to_change_in_the_server(database: Database) -> None:
    database.rows("insert into zmesh.leftover_roles values ('zmesh_p_gone', now(), 'objects elsewhere')")
    database.rows("insert into zmesh.leftover_roles values (current_user, now(), 'objects elsewhere')")
    problems = "select problem from zmesh.warnings() where problem like '%%objects elsewhere%%'"
    [told] = database.rows(problems, url=database.listener_url)
    assert told["problem"].startswith(f"the role {database.value('select current_user')} of a deleted project remains")
