"""The reference of SQL has what a project's role may use, as the database itself describes it."""

from __future__ import annotations

import os
import re

import pytest

from sql import errors
from tests.databases import Database
from tests.docs.sql_reference import FOR_USERS, PAGE, parts, written
from tests.platform import REPOSITORY

TEXT = PAGE.read_text("utf-8")


def test_the_tables_are_those_of_the_database(database: Database) -> None:
    with database.connect() as connection:
        expected = written(TEXT, parts(connection))
    if os.environ.get("WRITE_REFERENCE"):
        PAGE.write_text(expected, "utf-8")
    assert expected == TEXT, f"write it anew: WRITE_REFERENCE=1 pytest {__file__}"


def test_what_is_for_users_is_explained_by_a_guide() -> None:
    guides = "".join(path.read_text("utf-8") for path in (REPOSITORY / "docs" / "triggers").glob("*.md"))
    assert [name for name in FOR_USERS if f"zmesh.{name}" not in guides and name not in ("now", "cron_next")] == []


def test_every_sqlstate_of_the_platform_that_a_project_can_meet_is_listed() -> None:
    own = set(re.findall(r"\bZM\d{3}\b", errors.__doc__ or "")) - {"ZM410", "ZM412"}  # of leases, and of the API
    assert set(re.findall(r"\bZM\d{3}\b", TEXT)) == own


@pytest.mark.parametrize("name", ["functions", "internal", "relations"])
def test_the_page_has_a_place_for_each_table(name: str) -> None:
    assert TEXT.count(f"<!-- from the database: {name} -->") == 1
