"""What the role of a project may try in the database, where every function has a session of its own."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.databases import Database, TestProject

CODE = "def handler(payload, zmesh):\n    return 'the neighbour''s code'\n"


@pytest.fixture
def attacker(database: Database) -> TestProject:
    project = database.project("eve")
    database.function(project, "greet")
    return project


@pytest.fixture
def victim(database: Database) -> TestProject:
    """A neighbour that has everything a project can have."""
    project = database.project("ada")
    database.function(project, "secret", code=CODE, env_vars='{"KEY": "the-neighbours-key"}')
    database.rows("insert into zmesh.schedules (name, function, cron) values ('nightly', 'secret', '0 3 * * *')",
                  url=project.url)  # fmt: skip
    database.rows("create table orders (id integer)", url=project.url)
    database.enqueue(project, "secret", payload='{"word": "the-neighbours-payload"}')
    return project


@pytest.fixture
def session(database: Database, attacker: TestProject, victim: TestProject) -> Iterator[psycopg.Connection[object]]:
    with psycopg.connect(attacker.url, autocommit=True) as connection:
        yield connection


def test_no_function_of_the_platform_looks_up_names_where_others_can_put_some(database: Database) -> None:
    """Without pg_temp at the end, the temporary schema of whoever calls comes first for tables and types."""
    unsafe = database.rows(
        "select oid::regprocedure::text from pg_proc where prosecdef and pronamespace = 'zmesh'::regnamespace"
        " and not coalesce(proconfig, '{}') @> array['search_path=pg_catalog, pg_temp']"
    )

    assert unsafe == []


@pytest.mark.parametrize(
    "statement",
    [
        "insert into zmesh.invocations (function, payload) values ('greet', '{}')",
        "insert into zmesh.invocations (function, idempotency_key) values ('greet', 'k')",
        "insert into zmesh.schedules (function, cron) values ('greet', '* * * * *')",
        "select zmesh.cron_preview('* * * * *', 'UTC', 1, now())",
    ],
)
def test_a_temporary_type_runs_no_code_as_the_platforms_owner(
    database: Database, session: psycopg.Connection[object], attacker: TestProject, statement: str
) -> None:
    """What is called text, uuid or integer in a function that has more rights than its caller."""
    session.execute(
        f"create function {attacker.schema}.spy(anyelement) returns boolean language plpgsql as $$ begin"
        " insert into pg_temp.seen values (current_user); return true; end $$".encode()
    )
    session.execute("create table pg_temp.seen (who pg_catalog.name)")
    session.execute("grant all on pg_temp.seen to public")
    for name in ("jsonb", "timestamptz", "interval", "uuid", "int8", "int4", "bool", "text"):
        check = f"check ({attacker.schema}.spy(value))"
        session.execute(f"create domain pg_temp.{name} as pg_catalog.{name} {check}".encode())

    session.execute(statement.encode())

    seen = session.execute("select distinct who from pg_temp.seen").fetchall()
    assert {who for (who,) in seen} <= {attacker.role}
