"""Errors of PostgreSQL, as the command line shows them: SQLSTATE, message, the place in the statement, hint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.errors import CliError

if TYPE_CHECKING:
    import psycopg

WIDEST = 100  # of the line that is shown
OWN_HINTS = {
    "25006": "Leave out --read-only to write; agents need `zmesh mcp --sql-writes`.",
    "42501": "This command connects as the project's role, which owns only what it created.",
}


def sql_error(error: psycopg.Error, text: str, file: str = "") -> CliError:
    """The error of a statement. `file`: where its text is from."""
    diagnosis = error.diag
    lines = []
    if diagnosis.statement_position:
        lines = _place(text, int(diagnosis.statement_position), file)
    elif diagnosis.internal_position and diagnosis.internal_query:
        is_ours = diagnosis.internal_query == text  # and not what a routine runs
        lines = _place(diagnosis.internal_query, int(diagnosis.internal_position), file if is_ours else "")
    lines += [f"  {line}" for line in (diagnosis.message_detail or "").splitlines()]
    code = error.sqlstate or "database_error"
    return CliError(
        (diagnosis.message_primary or str(error) or type(error).__name__).strip(),
        code=code,
        place="\n".join(lines),
        hint=diagnosis.message_hint or OWN_HINTS.get(code, ""),
    )


def _place(text: str, position: int, file: str) -> list[str]:
    """The line with a caret below the character at this position, counted from 1."""
    from rich.cells import cell_len

    before = text[: position - 1]
    number = before.count("\n") + 1
    line = text.split("\n")[number - 1].rstrip("\r")
    column = len(before) - (before.rfind("\n") + 1)
    start = max(0, column - WIDEST // 2) if len(line) > WIDEST else 0
    margin = "".join("\t" if character == "\t" else " " * cell_len(character) for character in line[start:column])
    where = f"{file}:{number}:{column + 1}" if file else f"line {number}" if "\n" in text.strip() else ""
    return [*([f"  {where}"] if where else []), f"  {line[start : start + WIDEST]}", f"  {margin}^"]
