"""Errors with the lines of the author's files where they arose."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.errors import CliError
from cli.functions.excerpts import Frame, excerpt, frames_of, located_in, show_error

PYTHON = 'def divide(n):\n    return 1 / n\n\n\ndef handler(payload, zmesh):\n    return divide(payload["n"])\n'
PYTHON_STACK = """Traceback (most recent call last):
  File "main.py", line 6, in handler
    return divide(payload["n"])
           ^^^^^^^^^^^^^^^^^^^^
  File "main.py", line 2, in divide
    return 1 / n
           ~~^~~
ZeroDivisionError: division by zero"""


def test_python_names_the_innermost_place_last() -> None:
    found = frames_of(PYTHON_STACK, {"main.py": PYTHON})
    assert found == [Frame("main.py", 2, "divide", 12, "~~^~~"), Frame("main.py", 6, "handler", 12, "^" * 20)]


def test_javascript_names_it_first_and_gives_the_column() -> None:
    stack = (
        "TypeError: no\n    at greet (lib/greet.ts:3:15)\n    at async Module.handler (index.ts:4:10)\n"
        "    at node:internal/x:1:1\n    at index.ts:9:1"
    )
    found = frames_of(stack, {"lib/greet.ts": "x", "index.ts": "y"})
    assert [(f.path, f.line, f.column, f.where) for f in found] == [
        ("lib/greet.ts", 3, 15, "greet"),
        ("index.ts", 4, 10, "Module.handler"),
        ("index.ts", 9, 1, ""),
    ]


@pytest.mark.parametrize(
    ("path", "text", "stack", "column"),
    [
        ("a.py", "def f():\n    return 1 +\n", '  File "a.py", line 2\n    return 1 +\n              ^\n', 15),
        ("a.py", "if x:\n  if y:\n\treturn (\n", '  File "a.py", line 3\n    return (\n           ^\n', 9),
        ("a.py", "def f():\n\tif x\n", '  File "a.py", line 2\n    \tif x\n    \t    ^\n', 6),
        ("a.js", "f = () => {\n  return 1 + ;\n};", "a.js:2\n  return 1 + ;\n             ^\n\nSyntaxError: x", 14),
        ("a.ts", "let a;\nlet b = ;\n", "a.ts:2\nlet a;\nlet b = ;\n        ^\n\nSyntaxError: x", 9),
        ("a.py", "x\n", '  File "a.py", line 7\n    gone\n    ^\n', None),
    ],
)
def test_carets_stand_where_the_source_has_the_column(path: str, text: str, stack: str, column: int | None) -> None:
    [frame] = frames_of(stack, {path: text})
    assert frame.column == column


def test_only_the_functions_own_files_count() -> None:
    stack = '  File "/etc/passwd", line 1, in x\n    at f (/etc/passwd:1:1)\n  File "logo.png", line 1, in y\n'
    assert frames_of(stack, {"main.py": "", "logo.png": {"base64": ""}}) == []


def test_an_excerpt_has_the_lines_before_and_carets_below(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    shown = excerpt(Frame("a.py", 10, "f", 5, "^^^"), "\n".join(f"\tline {n}" for n in range(1, 12)), "src/a.py")
    assert shown == [
        "  src/a.py:10:5",
        "     8 │  line 8",
        "     9 │  line 9",
        "  › 10 │  line 10",
        "       │     ^^^",
    ]
    assert len(excerpt(Frame("a.js", 1, "f", 9000), "x" * 10_000, "a.js")[1]) < 300


def test_an_error_without_a_place_shows_its_stack(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    show_error({"type": "timeout", "message": "ran for longer than 5 ms", "stack": None}, {}, Path("a.py"))
    show_error({"type": "Odd", "message": "m", "stack": "  somewhere else"}, {}, Path("a.py"))
    assert capsys.readouterr().err == "timeout: ran for longer than 5 ms\nOdd: m\n  somewhere else\n"


@pytest.mark.parametrize("named_by", ["My fn", "my-fn"])
def test_a_parsers_error_is_shown_in_the_authors_file(
    tmp_path: Path, named_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    code = "exports.handler = (p) =>\n\tp +* 2;\n"
    function = {"name": "My fn", "language": "javascript", "code": code, "files": {}}
    said = f"{named_by}.js:2\n\tp +* 2;\n\t   ^\n\nSyntaxError: Unexpected token '*'"
    error = CliError('"My fn": The code cannot be loaded: …', code="syntax_error", place=said)
    others = {tmp_path / "other.js": {**function, "name": "other"}}
    shown = located_in(error, {**others, tmp_path / "another name.js": function})
    assert shown.splitlines() == [
        f"  {tmp_path / 'another name.js'}:2:5",
        "    1 │ exports.handler = (p) =>",
        "  › 2 │  p +* 2;",
        "      │     ^",
    ]
    assert located_in(error, others) == said
