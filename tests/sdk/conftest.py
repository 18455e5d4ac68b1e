"""Every sentence about the zmesh object holds in both languages: a test gives the same body in each."""

from __future__ import annotations

import secrets
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.conftest import API_PASSWORD, LISTENER_PASSWORD
from tests.databases import Database, TestProject
from tests.sdk.runtimes import Ending, run

TABLES = """
create table users (id bigint primary key generated always as identity, name text not null, age integer);
insert into users (name, age) values ('Ada', 36), ('Grace', 85), ('Rahul', 17);
create table logs (id bigint primary key generated always as identity, action text, detail jsonb, tags text[]);
"""


def wrapped(language: str, body: str) -> str:
    """A handler with this body."""
    inner = textwrap.dedent(body).strip("\n")
    if language == "python":
        return "def handler(payload, zmesh):\n" + textwrap.indent(inner, "    ")
    return "exports.handler = async (payload, zmesh) => {\n" + inner + "\n};"


@dataclass(slots=True)
class Bench:
    """One language, and a project's database for it."""

    language: str
    database: Database
    project: TestProject

    def run(self, *, javascript: str, python: str, payload: Any = None, **options: Any) -> Ending:
        body = {"javascript": javascript, "python": python}[self.language]
        context = {"database_url": self.project.url, **options.pop("context", {})}
        return run(self.language, wrapped(self.language, body), payload, context=context, **options)

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        return self.database.rows(query, *values, url=self.project.url)


@pytest.fixture(scope="module")
def database(server: str, migrated: str) -> Iterator[Database]:
    """One for the tests of a file, each of which has its own project."""
    with Database.fresh(server, API_PASSWORD, LISTENER_PASSWORD, template=migrated) as database:
        yield database


@pytest.fixture(params=["javascript", "python"])
def language(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def bench(language: str, database: Database) -> Bench:
    project = database.project(f"shop {secrets.token_hex(4)}")
    database.rows(TABLES, url=project.url)
    return Bench(language, database, project)
