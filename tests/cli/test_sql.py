"""`zmesh sql`: statements as the project's role, for people and programs."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from cli.database.sql import Session
from tests.conftest import API_PASSWORD, LISTENER_PASSWORD
from tests.databases import Database
from tests.platform import COMMANDS, Platform, clean_environment

SCHEMA = """
create type mood as enum ('glad', 'sad');
create table orders (id int primary key, total numeric, mood mood, tags text[], data jsonb, at timestamptz);
insert into orders values (1, 12.50, 'glad', '{a,b}', '{"a": [1]}', 'infinity'), (2, 'NaN', null, null, null, null);
"""


@pytest.fixture(scope="module")
def url(server: str, migrated: str) -> Iterator[str]:
    """The database of a project."""
    with Database.fresh(server, API_PASSWORD, LISTENER_PASSWORD, template=migrated) as database:
        project = database.project("shop")
        database.rows(SCHEMA, url=project.url)
        yield project.url
        database.remember_roles()


@pytest.fixture
def session(url: str, capsys: pytest.CaptureFixture[str]) -> Iterator[Session]:
    with psycopg.connect(url, autocommit=True) as connection:
        yield Session(connection, "table")


def zmesh_sql(folder: Path, url: str, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    variables = {**clean_environment(), "XDG_CONFIG_HOME": str(folder), "ZMESH_DATABASE_URL": url}
    return COMMANDS.run(["sql", *arguments], cwd=folder, env=variables, stdin=stdin)


def test_a_program_gets_rows_as_json(tmp_path: Path, url: str) -> None:
    done = zmesh_sql(tmp_path, url, "select *, id, 'nan'::float8 as f, array[1.5, 2] as n from orders order by id")
    assert json.loads(done.stdout) == {
        "command": "SELECT 2",
        "columns": ["id", "total", "mood", "tags", "data", "at", "id_2", "f", "n"],
        "rows": [
            {"id": 1, "total": "12.50", "mood": "glad", "tags": ["a", "b"], "data": {"a": [1]}, "at": "infinity",
             "id_2": 1, "f": "NaN", "n": ["1.5", "2"]},
            {"id": 2, "total": "NaN", "mood": None, "tags": None, "data": None, "at": None,
             "id_2": 2, "f": "NaN", "n": ["1.5", "2"]},
        ],
    }  # fmt: skip


def test_statements_from_standard_input_are_one_transaction(tmp_path: Path, url: str) -> None:
    text = "create table t (a int); insert into t values (1), (2); select count(*) from t;"
    done = zmesh_sql(tmp_path, url, stdin=f"\ufeff{text}")  # some editors begin files with a byte order mark
    assert [json.loads(line)["command"] for line in done.stdout.splitlines()] == [
        "CREATE TABLE",
        "INSERT 0 2",
        "SELECT 1",
    ]
    failed = zmesh_sql(tmp_path, url, "delete from t; select 1/0")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert "division by zero [22012]" in failed.stderr
    assert json.loads(zmesh_sql(tmp_path, url, "select count(*) from t").stdout)["rows"] == [{"count": 2}]


def test_people_get_a_table(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    session.run("select id, total, mood, tags from orders order by id; update orders set id = id where false")
    said = capsys.readouterr()
    assert [line.rstrip() for line in said.out.splitlines()] == [
        "id  total  mood  tags",
        ' 1  12.50  glad  ["a", "b"]',
        " 2    NaN  null  null",
        "UPDATE 0",
    ]
    assert said.err == "2 rows\n"


@pytest.mark.parametrize(
    ("text", "shown"), [("select id, mood from orders where false", "id  mood"), ("select", "SELECT 1")]
)
def test_a_table_may_have_no_rows_or_no_columns(
    session: Session, capsys: pytest.CaptureFixture[str], text: str, shown: str
) -> None:
    session.run(text)
    assert capsys.readouterr().out.strip() == shown


def test_rows_that_are_too_wide_are_shown_one_below_the_other(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    columns = ", ".join(f"repeat('x', 30) as column_{number}" for number in range(9))
    session.run(f"select {columns}")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("row 1 ")
    assert lines[1].split() == ["column_0", "x" * 30]
    assert len(lines) == 10


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "select\n  totl\nfrom orders",
            'error: column "totl" does not exist [42703]\n  line 2\n    totl\n    ^\n'
            ' hint: Perhaps you meant to reference the column "orders.total".',
        ),
        ("select '日本', nothing", "  select '日本', nothing\n                 ^"),
        ("insert into orders values (1)", "duplicate key value violates unique constraint"),
        ("insert into orders values (1)", "  Key (id)=(1) already exists."),
        ("copy orders to stdout", "COPY"),
        ("select 'a\0b'", "[malformed_text]"),
    ],
)
def test_errors_say_what_where_and_how_to_go_on(tmp_path: Path, url: str, text: str, said: str) -> None:
    given = {"stdin": text} if "\0" in text else {}  # which no argument of a process can hold
    done = zmesh_sql(tmp_path, url, *([] if given else [text]), **given)
    assert done.returncode == 1
    assert said in done.stderr


def test_read_only_refuses_to_write(tmp_path: Path, url: str) -> None:
    done = zmesh_sql(tmp_path, url, "--read-only", "delete from orders")
    assert "cannot execute DELETE in a read-only transaction [25006]" in done.stderr
    assert "hint: Leave out --read-only" in done.stderr
    assert zmesh_sql(tmp_path, url, "--read-only", "table orders").returncode == 0


def test_the_prompt_runs_statements_and_goes_on_after_errors(
    session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = iter(["select 1 as a,", "2 as b; begin;", "select 1/0;", "rollback;", "\\q"])
    prompts: list[str] = []

    def read(prompt: str) -> str:
        prompts.append(prompt.partition(">")[0][-1])
        return next(typed)

    session.prompt(read)
    said = capsys.readouterr()
    assert prompts == ["=", "-", "=", "=", "="]
    assert said.out.split() == ["a", "b", "1", "2", "BEGIN", "ROLLBACK"]
    assert "[22012]" in said.err


def test_ctrl_c_drops_what_was_typed_and_ctrl_d_ends(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    answers: Iterator[str | BaseException] = iter(["select 1", KeyboardInterrupt(), "select 2;", EOFError()])

    def read(_: str) -> str:
        answer = next(answers)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    session.prompt(read)
    assert capsys.readouterr().out.split() == ["?column?", "2"]


def test_the_prompt_ends_when_the_connection_does(session: Session) -> None:
    with pytest.raises(Exception, match="terminating connection"):
        session.prompt(lambda _: "select pg_terminate_backend(pg_backend_pid());")


def test_the_connection_string_is_asked_of_the_api_for_owners(tmp_path: Path, running_platform: Platform) -> None:
    variables = {"ZMESH_URL": running_platform.url, "ZMESH_TOKEN": running_platform.token}
    environment = {**clean_environment(), "XDG_CONFIG_HOME": str(tmp_path), **variables}
    done = COMMANDS.run(["sql", "select current_user as u"], cwd=tmp_path, env=environment, stdin="")
    mine = json.loads(done.stdout)["rows"][0]["u"]
    assert mine.startswith("zmesh_p_")
    other = {**environment, "ZMESH_DATABASE_URL": running_platform.database_url}
    there = COMMANDS.run(
        ["sql", "--project", "examples", "select current_user as u"], cwd=tmp_path, env=other, stdin=""
    )
    assert json.loads(there.stdout)["rows"][0]["u"] != mine
    nowhere = {**environment, "ZMESH_DATABASE_URL": "postgresql://u:secret@127.0.0.1:1/x"}
    failed = COMMANDS.run(["sql", "select 1"], cwd=tmp_path, env=nowhere, stdin="")
    assert "[database_unreachable]" in failed.stderr
    assert "secret" not in failed.stderr
