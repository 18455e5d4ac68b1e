"""Where statements of SQL end."""

from __future__ import annotations

import pytest

from cli.database.statements import split

ROUTINE = """create or replace function f() returns int language sql
begin atomic
  select case when true then 1 else 2 end;
  select 2;
end"""


@pytest.mark.parametrize(
    ("text", "statements", "rest"),
    [
        ("select 1;", ["select 1"], ""),
        ("select 1; select 2;\n", ["select 1", "select 2"], ""),
        ("select 1; select 2", ["select 1"], " select 2"),
        ("select", [], "select"),
        (";; ;", [], ""),
        ("-- a; b\n", [], ""),
        ("/* a; /* b; */ c; */ ", [], ""),
        ("/* a; /* b; */", [], "/* a; /* b; */"),
        ("-- a\nselect 1; -- b", ["-- a\nselect 1"], ""),
        ("select 1 -- a;\n + 2;", ["select 1 -- a;\n + 2"], ""),
        ("select ';', 'it''s;', \"a;\";", ["select ';', 'it''s;', \"a;\""], ""),
        ("select e'\\';', 1;", ["select e'\\';', 1"], ""),
        ("select '\\'; select 2;", ["select '\\'", "select 2"], ""),
        ("select 'open;", [], "select 'open;"),
        ('select "open;', [], 'select "open;'),
        ("do $$ begin; end $$;", ["do $$ begin; end $$"], ""),
        ("do $a$ $$ ; $b$ $a$;", ["do $a$ $$ ; $b$ $a$"], ""),
        ("do $a$ ; $b$", [], "do $a$ ; $b$"),
        ("select a$b; select $1;", ["select a$b", "select $1"], ""),
        ("begin; commit;", ["begin", "commit"], ""),
        (f"{ROUTINE}; select 1;", [ROUTINE, "select 1"], ""),
        (
            "create function f() returns int begin atomic select 1;",
            [],
            "create function f() returns int begin atomic select 1;",
        ),
        ("create table begins (begin int); select 1;", ["create table begins (begin int)", "select 1"], ""),
    ],
)
def test_statements_end_at_semicolons_that_are_neither_quoted_nor_in_a_body(
    text: str, statements: list[str], rest: str
) -> None:
    assert split(text) == (statements, rest)


def test_what_is_typed_line_by_line_is_what_is_read_at_once() -> None:
    lines = f"{ROUTINE};\nselect 1 -- so far;\n;select 'a\nb;';".split("\n")
    found, text = [], ""
    for line in lines:
        statements, text = split(f"{text}{line}\n")
        found += statements
    assert (found, text) == (split("\n".join(lines)))


def test_a_long_text_with_quotes_that_do_not_end_is_read_at_once() -> None:
    text = "select " + "$a$ ' /* " * 20_000
    assert split(text) == ([], text)
