"""How the database executes what the platform asks of it all the time."""

from __future__ import annotations

from tests.databases import Database


def test_what_fixes_its_plans_is_never_compiled(database: Database) -> None:
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
