"""What an agent asks of a project's database ends, whatever the project did there."""

from __future__ import annotations

import psycopg
import pytest

from cli.agents import bounding
from cli.errors import CliError
from sql.signing_in import UsesTls
from tests.databases import Database
from tests.hostile_roles import demand_hashing


def test_a_query_that_postgresql_cannot_interrupt_is_given_up(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It compares the texts until it is done, whatever its timeouts are: it takes an agent's place for hours."""
    monkeypatch.setattr(bounding, "MOST_SECONDS", 0.5)
    connection = bounding.bounded_sign_in(database.project().url)
    connection.execute("set statement_timeout = 100")
    with pytest.raises(CliError) as refused, bounding.bounded_answers(connection):
        connection.execute("select position('b' || repeat('a', 1500) in repeat('a', 3000000))")
    assert refused.value.code == "answer_timeout"
    assert connection.closed


def test_a_sign_in_by_tls_that_takes_long_is_begun_once(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounding, "SIGN_IN_SECONDS", 0.1)
    project = database.project()
    demand_hashing(database, project, 2_000_000)

    async def hidden(_url: str, **_options: object) -> None:
        raise UsesTls

    monkeypatch.setattr("sql.signing_in.signed_in", hidden)
    for said in ("takes too long", "has not ended yet"):
        with pytest.raises(psycopg.OperationalError, match=said):
            bounding.bounded_sign_in(project.url)
