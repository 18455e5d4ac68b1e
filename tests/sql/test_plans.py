"""How the database executes what the platform asks of it all the time."""

from __future__ import annotations

import psycopg
import pytest

from tests.databases import Database, Row


def test_functions_with_fixed_plans_are_never_jit_compiled(database: Database) -> None:
    """Before PostgreSQL 18 a method that is switched off counts as dear, and what is dear is compiled, each time."""
    compiled = database.rows(
        "select proname from pg_proc where pronamespace = 'zmesh'::regnamespace"
        " and 'enable_seqscan=off' = any (proconfig) and not 'jit=off' = any (proconfig)"
    )
    assert compiled == []


def test_a_claim_and_a_tick_are_not_compiled(database: Database) -> None:
    for name in ("claim", "fire_due_schedules"):
        settings = database.value("select proconfig from pg_proc where proname = %s", name)
        assert "jit=off" in settings, name


@pytest.mark.parametrize("expires_at", ["2020-01-01", "2100-01-01"])
def test_a_claim_reads_as_little_of_a_long_queue_as_of_a_short_one(database: Database, expires_at: str) -> None:
    """Also where it was planned when little was queued, and where what is queued has expired."""
    project = database.project()
    database.function(project)
    listener = database.listener()
    with database.connect() as connection:
        for _ in range(3):
            database.enqueue(project)
            connection.execute("select count(*) from zmesh.claim(%s, 8)", [listener])
        database.enqueue(project, count=3000, expires_at=expires_at)
        with connection.transaction():
            before = entries_read(connection)
            connection.execute("select count(*) from zmesh.claim(%s, 8)", [listener])
            assert entries_read(connection) - before < 300


def entries_read(connection: psycopg.Connection[Row]) -> int:
    """How many entries of the queue's indexes this transaction has read."""
    [row] = connection.execute(
        "select sum(pg_stat_get_xact_tuples_returned(indexrelid)) as n from pg_index"
        " where indrelid = 'zmesh.queue'::regclass"
    ).fetchall()
    return int(row["n"])
