"""What a statement answered: a table for people, a line of JSON for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from cli.output import open_console, print_json, progress
from cli.tables import GAP, UNBROKEN

if TYPE_CHECKING:
    import psycopg
    from rich.text import Text

MOST_ROWS = 1000  # of a table on a terminal
AS_THEY_ARE = ("bool", "int2", "int4", "int8", "oid", "float4", "float8", "json", "jsonb")  # all else is text
NUMBERS = ("int2", "int4", "int8", "oid", "float4", "float8", "numeric")


@dataclass(frozen=True, slots=True)
class Result:
    """Rows of a statement, which has no columns if it answers none; `command` is PostgreSQL's own summary."""

    command: str
    columns: list[str]
    numeric: list[bool]
    rows: list[tuple[Any, ...]]


def read_as_text(connection: psycopg.Connection) -> None:
    """From now on, what JSON has no type for is read as PostgreSQL writes it: numeric, dates, infinity, ranges."""
    from psycopg import postgres
    from psycopg.types.string import TextLoader

    for type in postgres.types:
        if type.name not in AS_THEY_ARE:
            connection.adapters.register_loader(type.oid, TextLoader)


def results(cursor: psycopg.Cursor) -> Iterator[Result]:
    """Of each statement that was sent."""
    from psycopg import postgres

    numbers = {postgres.types[name].oid for name in NUMBERS}
    while True:
        described = cursor.description or []
        yield Result(
            command=cursor.statusmessage or "",
            columns=column_keys([column.name for column in described]),
            numeric=[column.type_code in numbers for column in described],
            rows=[tuple(map(as_json, row)) for row in cursor] if described else [],
        )
        if not cursor.nextset():
            return


def as_json(value: Any) -> Any:
    """The value, with text for the numbers that JSON lacks."""
    if isinstance(value, list):
        return [as_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def column_keys(names: Sequence[str]) -> list[str]:
    """Column names as keys: a second `id` becomes `id_2`."""
    found: list[str] = []
    for name in names:
        number, key = 1, name
        while key in found:
            number += 1
            key = f"{name}_{number}"
        found.append(key)
    return found


def show(result: Result, output: str) -> None:
    """Print it."""
    if output == "json":
        rows = [dict(zip(result.columns, row, strict=True)) for row in result.rows]
        print_json({"command": result.command, "columns": result.columns, "rows": rows})
        return
    if not result.columns:
        click.echo(result.command)
        return
    cells = [[_cell(value) for value in row] for row in result.rows[:MOST_ROWS]]
    _print(result.columns, result.numeric, cells)
    progress(f"{len(result.rows)} {'row' if len(result.rows) == 1 else 'rows'}")
    if len(result.rows) > len(cells):
        progress(f"The first {len(cells)} are shown; --output json prints all.")


def _cell(value: Any) -> Text:
    from rich.text import Text

    if value is None:
        return Text("null", style="dim italic")
    return Text(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _print(columns: Sequence[str], numeric: Sequence[bool], rows: Sequence[Sequence[Text]]) -> None:
    """A table; where it is too wide for the terminal, the columns of each row one below the other."""
    from rich.cells import cell_len
    from rich.table import Column, Table
    from rich.text import Text

    console = open_console()
    cells = zip(columns, *rows, strict=True)
    widths = [max([cell_len(heading), *(min(cell.cell_len, UNBROKEN) for cell in below)]) for heading, *below in cells]
    if rows and sum(widths) + GAP * (len(widths) - 1) > console.width:
        for number, row in enumerate(rows, 1):
            console.rule(f"row {number}", align="left", style="dim")
            record = Table.grid(Column(style="bold", no_wrap=True), Column(overflow="fold"), padding=(0, GAP, 0, 0))
            for heading, cell in zip(columns, row, strict=True):
                record.add_row(Text(heading), cell)
            console.print(record)
        return
    headings = [
        Column(Text(heading), justify="right" if is_number else "left", no_wrap=width < UNBROKEN, overflow="fold")
        for heading, is_number, width in zip(columns, numeric, widths, strict=True)
    ]
    table = Table(*headings, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*row)
    console.print(table)
