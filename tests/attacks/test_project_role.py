"""What the role of a project may try in the database, where every function has a session of its own."""

from __future__ import annotations

from tests.databases import Database


def test_no_function_of_the_platform_looks_up_names_where_others_can_put_some(database: Database) -> None:
    """Without pg_temp at the end, the temporary schema of whoever calls comes first for tables and types."""
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
