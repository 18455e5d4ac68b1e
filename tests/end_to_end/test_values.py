"""Every kind of value, both ways, through the sandbox and PostgreSQL: no value is lost or changed without an error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.end_to_end.values import READ, RETURNED, STORED, Outcome, Read, Refused, Stored, page
from tests.platform import REPOSITORY, Platform

DOCUMENT = REPOSITORY / "docs" / "reference" / "values.md"
MARK = "<!-- The tables are generated from tests/end_to_end/values.py and checked by test_values.py. -->\n"
DROP = """
drop table if exists stored, read;
drop type if exists mood; drop type if exists place; drop domain if exists positive;
"""
TYPES = """
create type mood as enum ('happy', 'sad');
create type place as (name text, number integer);
create domain positive as integer constraint positive check (value > 0);
"""
CODE = {
    "javascript": """
const AsyncFunction = (async () => {}).constructor;
exports.handler = (payload, zmesh) => new AsyncFunction('db', 'given', payload.code)(zmesh.db, payload);
""",
    "python": """
import enum, ipaddress, types
from collections import namedtuple
from dataclasses import make_dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import PurePosixPath
from uuid import UUID
from psycopg.types.multirange import Multirange
from psycopg.types.range import Range

def handler(payload, zmesh):
    names = {**globals(), "db": zmesh.db, "given": payload}
    exec(payload["code"], names)
    return names["result"]
""",
}
NOT_EXACTLY = {
    ("javascript", "'9007199254740993'::jsonb"): "9007199254740992",
    ("javascript", "'null'::jsonb"): None,
    ("python", "'null'::jsonb"): None,
    ("javascript", "'2024-02-29 12:30:00.123456Z'::timestamptz"): "2024-02-29 12:30:00.123+00",
    ("javascript", "'[2:3]={1,2}'::int[]"): "{1,2}",
    ("python", "'[2:3]={1,2}'::int[]"): "{1,2}",
}
MARKS = {"javascript": "$1", "python": "%s"}
CONSTANT = {"javascript": "const ", "python": ""}
N = {"javascript": "n: 2,", "python": "'n': 2,"}


def params(cases: dict[str, list[Any]]) -> list[Any]:
    """The language and a case of it, with the value as the name of the test."""
    every = [(language, case) for language, of_language in cases.items() for case in of_language]
    return [pytest.param(language, case, id=f"{language}: {name_of(case)}") for language, case in every]


def name_of(case: Any) -> str:
    return f"{case.type} {case.value}" if isinstance(case, Stored) else case[0]


def field(language: str, row: str) -> str:
    """The column v of a row."""
    return f"{row}.v" if language == "javascript" else f"{row}['v']"


def record(language: str, value: str, more: str = "") -> str:
    """An object with the value as v."""
    return f"{{{more} v: {value}}}" if language == "javascript" else f"{{{more} 'v': {value}}}"


@pytest.fixture(scope="module")
def platform(running_platform: Platform) -> Iterator[Platform]:
    running_platform.sql(DROP + TYPES)
    for language, code in CODE.items():
        running_platform.deploy(f"values-{language}", code, language)
    yield running_platform
    for language in CODE:
        running_platform.request("DELETE", f"/functions/values-{language}")
    running_platform.sql(DROP)


def check(platform: Platform, language: str, expression: str, expected: Outcome, *lines: str, **given: Any) -> None:
    """The expression, after these lines, has this result, or fails with this error."""
    keyword = {"javascript": "return ", "python": "result = "}[language]
    code = {"javascript": ";\n", "python": "\n"}[language].join([*lines, keyword + expression])
    answer = platform.invoke(f"values-{language}", {"code": code, **given}).json()
    if isinstance(expected, Refused):
        assert answer["status"] == "error", answer
        assert expected.words in answer["error"]["message"]
    else:
        assert answer["status"] == "success", answer
        assert answer["result"] == expected
        assert type(answer["result"]) is type(expected)


def called(language: str, call: str) -> str:
    return f"(await {call})" if language == "javascript" else call


@pytest.mark.parametrize(("language", "case"), params(RETURNED))
def test_what_a_function_returns_is_the_result_or_an_error(
    platform: Platform, language: str, case: tuple[str, Outcome]
) -> None:
    value, outcome = case
    check(platform, language, f"({value})", outcome)


@pytest.mark.parametrize(("language", "case"), params(STORED))
def test_what_is_stored_is_the_value_or_an_error(platform: Platform, language: str, case: Stored) -> None:
    platform.sql(f"drop table if exists stored; create table stored (v {case.type})")
    empty, data = record(language, {"javascript": "null", "python": "None"}[language]), record(language, case.value)
    text = field(language, called(language, "db.query_one('select v::text from stored')"))
    insert = called(language, f"db.insert('stored', {data})")
    check(platform, language, text, case.text, insert)
    prepare = called(language, f"db.insert('stored', {empty})")
    update = called(language, f"db.update('stored', {data}, 'true')")
    platform.sql("truncate stored")
    check(platform, language, text, case.text, prepare, update)
    query = called(language, f"db.query_one('select ({MARKS[language]}::{case.type})::text as v', [{case.value}])")
    check(platform, language, field(language, query), case.by_query)


@pytest.mark.parametrize("language", ["javascript", "python"])
@pytest.mark.parametrize("case", READ, ids=lambda case: case.sql)
def test_what_is_read_has_the_type_and_the_value(platform: Platform, language: str, case: Read) -> None:
    kind, outcome = getattr(case, language)
    row = called(language, "db.query_one(given['sql'])")
    of = {"javascript": "v?.constructor?.name ?? String(v)", "python": "type(v).__name__"}[language]
    keep = f"{CONSTANT[language]}v = {field(language, row)}"
    sql = f"select {case.sql} as v"
    check(platform, language, of, kind, keep, sql=sql)
    check(platform, language, "v", outcome, keep, sql=sql)


@pytest.mark.parametrize("language", ["javascript", "python"])
@pytest.mark.parametrize("case", READ, ids=lambda case: case.sql)
def test_what_is_read_can_be_stored_again(platform: Platform, language: str, case: Read) -> None:
    platform.sql(f"drop table if exists read; create table read as select 1 as n, {case.sql} as v")
    [before] = platform.sql("select v::text from read")
    row = called(language, "db.query_one('select v from read')")
    keep = f"{CONSTANT[language]}v = {field(language, row)}"
    insert = called(language, f"db.insert('read', {record(language, 'v', N[language])})")
    again = field(language, called(language, "db.query_one('select v::text from read where n = 2')"))
    check(platform, language, again, NOT_EXACTLY.get((language, case.sql), before["v"]), keep, insert)


def test_the_document_has_these_tables() -> None:
    _, mark, tables = DOCUMENT.read_text().partition(MARK)
    assert mark
    assert tables.strip() == page().strip(), "run: python -m tests.end_to_end.test_values"


if __name__ == "__main__":
    DOCUMENT.write_text(DOCUMENT.read_text().partition(MARK)[0] + MARK + "\n" + page())
