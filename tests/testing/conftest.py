"""A prepared database as `zmesh test` makes it, on the server that all tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.testing.throwaway import apply_sql_of
from sql.testing import prepare_for_tests
from tests.conftest import API_PASSWORD, LISTENER_PASSWORD
from tests.databases import Database

SCHEMA = """
create table orders (
    id     bigint generated always as identity primary key,
    item   text   not null,
    parent bigint references orders deferrable initially deferred
);
select zmesh.on_change('orders', 'audit', '{DELETE}');
"""


@pytest.fixture(scope="session")
def prepared(server: str, migrated: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Connection string of the project's role; the database has a table of orders."""
    project = Path(tmp_path_factory.mktemp("project"))
    (project / "schema.sql").write_text(SCHEMA)
    with Database.fresh(server, API_PASSWORD, LISTENER_PASSWORD, template=migrated) as database:
        url = prepare_for_tests(database.admin_url)
        database.remember_roles()
        apply_sql_of(project, url)
        yield url
