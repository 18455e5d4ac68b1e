"""Properties of the SQL that the helpers of zmesh.db make, in both languages."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.sdk.runtimes import NODE, SDK

sys.path.insert(0, str(SDK / "python"))
from zmesh_runtime import statements as python_statements

ANSWER_CALLS = """
const statements = require(process.argv[1]);
require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const [name, args] = JSON.parse(line);
  let answer;
  try { answer = { value: statements[name](...args) }; } catch (error) { answer = { error: error.message }; }
  process.stdout.write(JSON.stringify(answer) + '\\n');
});
"""
Call = Callable[..., Any]
fast = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=15)


@pytest.fixture(scope="module")
def javascript() -> Iterator[Call]:
    """Calls a function of lib/statements.js."""
    command = [str(NODE), "-e", ANSWER_CALLS, str(SDK / "javascript" / "lib" / "statements.js")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        stdin, stdout = process.stdin, process.stdout

        def call(name: str, *args: Any) -> Any:
            stdin.write(json.dumps([name, args]) + "\n")
            stdin.flush()
            answer = json.loads(stdout.readline())
            if "error" in answer:
                raise ValueError(answer["error"])
            return answer["value"]

        yield call
        stdin.close()


@pytest.fixture(scope="module")
def connection(server: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(server, autocommit=True) as connection:
        yield connection


def placeholder(number: int) -> tuple[str, int]:
    return f"${number}::text is null", number


no_dollar_tag = st.text("abc$1 '\"\n-/*", max_size=8)
pieces = st.one_of(
    st.integers(1, 40).map(placeholder),
    no_dollar_tag.map(lambda text: ("'" + text.replace("'", "''") + "' is null", 0)),
    no_dollar_tag.map(lambda text: (r"e'\'$7" + text.replace("'", r"\'") + "' is null", 0)),
    st.sampled_from(["$$", "$t$", "$tag_2$"]).map(lambda tag: (f"{tag} '$9 {tag} is null", 0)),
    st.sampled_from(["$$", "$t$"]).map(lambda tag: (f"{tag}$5{tag} is null", 0)),
    st.just(("true -- $8 isn't one\n", 0)),
    st.just(("true /* $8 /* nested '*/ $9 */", 0)),
    st.just(('(select true as "a$6""b") is null', 0)),
    st.just(("(select x$2 from (select 1 as x$2) y) is null", 0)),
)


@given(st.lists(pieces, min_size=1, max_size=6))
@example([("'a''$9' is null", 0), ("$2::text is null", 2)])
@fast
def test_only_real_placeholders_are_counted(
    javascript: Call, connection: psycopg.Connection[Any], parts: list[tuple[str, int]]
) -> None:
    condition = " and ".join(text for text, _ in parts)
    highest = javascript("highestPlaceholder", condition)
    assert highest == max(number for _, number in parts)
    assert highest == counted_by_postgresql(connection, condition)


def counted_by_postgresql(connection: psycopg.Connection[Any], condition: str) -> int:
    """The parameters that PostgreSQL itself finds; numbers that are left out count, as unused ones."""
    used = connection.pgconn.prepare(b"", f"select 1 where {condition}".encode())
    if used.status == psycopg.pq.ExecStatus.FATAL_ERROR:
        hole = re.search(r"could not determine data type of parameter \$(\d+)", used.error_message.decode())
        assert hole is not None, used.error_message.decode()
        filled = f"{condition} and ${hole[1]}::text is null"
        return counted_by_postgresql(connection, filled)
    described = connection.pgconn.describe_prepared(b"")
    return described.nparams


@given(st.dictionaries(names, st.none(), min_size=1, max_size=4), st.lists(st.none(), min_size=1, max_size=4))
@fast
def test_the_values_to_set_are_numbered_after_the_conditions_own(
    javascript: Call, data: dict[str, None], params: list[None]
) -> None:
    text, values = javascript("update", "t", data, " and ".join(f"${n + 1}" for n in range(len(params))), params)
    sets = [int(number) for number in re.findall(r" = \$(\d+)(?=,| where)", text)]
    assert sets[-len(data) :] == list(range(len(params) + 1, len(params) + len(data) + 1))
    assert len(values) == len(params) + len(data)


@given(st.integers(2, 30))
@fast
def test_a_condition_that_uses_more_parameters_than_given_is_refused(javascript: Call, number: int) -> None:
    with pytest.raises(ValueError, match=rf"uses \${number}, but got 1 parameter"):
        javascript("update", "t", {"a": 1}, f"id = ${number}", [1])


@given(name=names)
@example(name='a"b')
@example(name="a.b")
@example(name="%s")
@fast
def test_any_name_is_quoted_to_itself(javascript: Call, connection: psycopg.Connection[Any], name: str) -> None:
    for quoted in (python_statements.quoted(name), javascript("quoted", name)):
        with connection.cursor() as cursor:
            cursor.execute(f"select 1 as {quoted}".encode())
            assert cursor.description is not None
            assert cursor.description[0].name == name


@given(schema=names, table=names)
@fast
def test_a_dot_separates_schema_and_table(javascript: Call, schema: str, table: str) -> None:
    schema, table = schema.replace(".", "-"), table.replace(".", "-")
    expected = f"{python_statements.quoted(schema)}.{python_statements.quoted(table)}"
    assert python_statements.table_name(f"{schema}.{table}") == expected
    assert javascript("tableName", f"{schema}.{table}") == expected


@pytest.mark.parametrize("name", ["", ".", "a.", ".a", "a..b", "a\0b", None, 5, ["a"]])
def test_an_invalid_name_is_refused(javascript: Call, name: Any) -> None:
    with pytest.raises(ValueError, match=r"is not a valid table( or column)? name"):
        javascript("tableName", name)
    with pytest.raises(ValueError, match=r"is not a valid table( or column)? name"):
        python_statements.table_name(name)
