"""TypeScript types of tables, which extend the interface Tables of zmesh.d.ts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sql.tables import Column, Table

_HEADER = """\
// Types of the project's tables, written by `zmesh types`. Save it beside zmesh.d.ts.
// int8 beyond 2^53 and infinite times arrive as text, whatever is said here.
import './zmesh';

declare module './zmesh' {
  interface Tables {
"""
_READ = {
    **dict.fromkeys(("int2", "int4", "int8", "oid", "float4", "float8"), "number"),
    **dict.fromkeys(("json", "jsonb"), "any"),
    **dict.fromkeys(("timestamp", "timestamptz"), "Date"),
    "bool": "boolean",
    "bytea": "Buffer",
    "interval": "Interval",
    "point": "{ x: number; y: number }",
    "circle": "{ x: number; y: number; radius: number }",
}
_WRITTEN = {
    **_READ,
    **dict.fromkeys(("int8", "numeric"), "number | string | bigint"),
    **dict.fromkeys(("json", "jsonb"), "unknown"),
    **dict.fromkeys(("date", "timestamp", "timestamptz"), "Date | string"),
    "bytea": "Uint8Array | string",
    "interval": "Interval | string",
    "point": "string",
    "circle": "string",
}
_IDENTIFIER = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*")


def write_typescript(tables: Iterable[Table]) -> str:
    """The text of a declaration file."""
    return f"{_HEADER}{''.join(map(_table, tables))}  }}\n}}\n"


def _table(table: Table) -> str:
    written = [column for column in table.columns if not column.is_generated]
    insert = "".join(map(_written, written)) if table.is_insertable else None
    return (
        f"    {_key(table.name)}: {{\n      row: {{\n{''.join(map(_read, table.columns))}      }};\n"
        + ("      insert: never;\n" if insert is None else f"      insert: {{\n{insert}      }};\n")
        + "    };\n"
    )


def _read(column: Column) -> str:
    null = " | null" if column.is_nullable else ""
    return f"        {_key(column.name)}: {_type(column, _READ)}{null};{_declared(column)}\n"


def _written(column: Column) -> str:
    null = " | null" if column.is_nullable else ""
    mark = "?" if column.is_nullable or column.has_default else ""
    return f"        {_key(column.name)}{mark}: {_type(column, _WRITTEN)}{null};\n"


def _type(column: Column, types: dict[str, str]) -> str:
    if column.kind == "e" and column.labels:
        return " | ".join(map(_literal, column.labels))
    if types is _WRITTEN and column.declared.endswith("[]") and not column.is_array:
        return "string | readonly string[]"
    name = types.get(column.type, "string") if column.kind == "b" else "string"
    if not column.is_array:
        return name
    return f"({name})[]" if " " in name else f"{name}[]"


def _declared(column: Column) -> str:
    """The type as SQL has it, on one line whatever somebody has called it."""
    return f" // {' '.join(column.declared.split())}"


def _key(name: str) -> str:
    return name if _IDENTIFIER.fullmatch(name) else _literal(name)


def _literal(text: str) -> str:
    return json.dumps(text)
