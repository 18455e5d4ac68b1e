"""Python types of tables: a stub with a Zmesh whose db knows them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sql.tables import Column, Table

_HEADER = '''\
"""Types of the project's tables, written by `zmesh types --language python`.

Infinite times, and others that Python cannot hold, arrive as text, whatever is said here.
"""
# mypy: disable-error-code="override"
# pyright: reportIncompatibleMethodOverride=false, reportIncompatibleVariableOverride=false

import datetime
import decimal
import ipaddress
import uuid
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from typing import Any, Literal, NotRequired, TypedDict, overload

import psycopg.types.multirange
import psycopg.types.range
import zmesh_runtime

'''
_ZMESH = """\
    def transaction(self) -> AbstractContextManager[Database]: ...

class Zmesh(zmesh_runtime.Zmesh):
    @cached_property
    def db(self) -> Database: ...
"""
_IP = "ipaddress.IPv4{0} | ipaddress.IPv6{0}"
_READ = {
    **dict.fromkeys(("int2", "int4", "int8", "oid"), "int"),
    **dict.fromkeys(("float4", "float8"), "float"),
    **dict.fromkeys(("json", "jsonb"), "Any"),
    **dict.fromkeys(("timestamp", "timestamptz"), "datetime.datetime"),
    **dict.fromkeys(("time", "timetz"), "datetime.time"),
    "bool": "bool",
    "numeric": "decimal.Decimal",
    "bytea": "bytes",
    "date": "datetime.date",
    "interval": "datetime.timedelta",
    "uuid": "uuid.UUID",
    "inet": f"{_IP.format('Address')} | {_IP.format('Interface')}",
    "cidr": _IP.format("Network"),
}
_RANGES = {"r": "psycopg.types.range.Range[Any]", "m": "psycopg.types.multirange.Multirange[Any]"}
_WITHOUT_TEXT = ("bool", "int", "float", "Any", "bytes", "str")  # text is not accepted as well, or is all there is
_NOT_A_WORD = re.compile(r"\W+")


def write_python(tables: Iterable[Table]) -> str:
    """The text of a stub."""
    named = _named(list(tables))
    types = "".join(_typed_dicts(table, name) for table, name in named)
    methods = _methods("select", named) + _methods("remove", named)
    writable = [one for one in named if one[0].is_insertable]
    methods += _methods("insert", writable) + _methods("update", writable)
    return f"{_HEADER}{types}class Database(zmesh_runtime.Database):\n{methods}{_ZMESH}"


def _named(tables: Sequence[Table]) -> list[tuple[Table, str]]:
    """Tables with a name for each as a class has it."""
    found: dict[str, Table] = {}
    for table in tables:
        words = (word[:1].upper() + word[1:] for word in re.split(r"[\W_]+", table.name))
        name = _NOT_A_WORD.sub("", "".join(words))
        name = name if name.isidentifier() else f"T{name}"
        number, distinct = 1, name
        while distinct in found:
            number += 1
            distinct = f"{name}{number}"
        found[distinct] = table
    return [(table, name) for name, table in found.items()]


def _typed_dicts(table: Table, name: str) -> str:
    row = [f"{column.name!r}: {_or_none(column, _read(column))}" for column in table.columns]
    text = _typed_dict(f"{name}Row", row)
    if table.is_insertable:
        written = [column for column in table.columns if not column.is_generated]
        text += _typed_dict(f"{name}Insert", [_entry(column) for column in written])
        update = [f"{column.name!r}: {_or_none(column, _written(column))}" for column in written]
        text += _typed_dict(f"{name}Update", update, ", total=False")
    return text


def _typed_dict(name: str, entries: Sequence[str], options: str = "") -> str:
    fields = "".join(f"    {entry},\n" for entry in entries)
    return f'{name} = TypedDict("{name}", {{\n{fields}}}{options})\n'


def _entry(column: Column) -> str:
    type = _or_none(column, _written(column))
    optional = column.is_nullable or column.has_default
    return f"{column.name!r}: {f'NotRequired[{type}]' if optional else type}"


def _or_none(column: Column, type: str) -> str:
    return f"{type} | None" if column.is_nullable and type != "Any" else type


def _read(column: Column) -> str:
    if column.kind == "e" and column.labels:
        return f"Literal[{', '.join(map(repr, column.labels))}]"
    if column.kind in _RANGES:
        return _RANGES[column.kind]
    type = _READ.get(column.type, "str") if column.kind == "b" else "str"
    return f"list[{type}]" if column.is_array else type


def _written(column: Column) -> str:
    """PostgreSQL reads text as a value of any type; numbers of all kinds fit into numeric."""
    if column.is_array:
        return "Sequence[Any]"
    if column.declared.endswith("[]"):
        return "str | Sequence[Any]"
    type = _read(column)
    if type in _WITHOUT_TEXT or column.kind == "e":
        return type
    return f"{type} | int | float | str" if column.type == "numeric" else f"{type} | str"


def _methods(method: str, tables: Sequence[tuple[Table, str]]) -> str:
    mark = "    @overload\n" if len(tables) > 1 else ""
    return "".join(f"{mark}    def {method}({_signature(method, table, name)}: ...\n" for table, name in tables)


def _signature(method: str, table: Table, name: str) -> str:
    columns = ", ".join(repr(column.name) for column in table.columns)
    where = f"str | Mapping[Literal[{columns}], Any]"
    first = f"self, table: Literal[{table.name!r}]"
    params = "params: Sequence[Any] | Mapping[str, Any] | None = ...) -> "
    match method:
        case "insert":
            return f"{first}, data: {name}Insert) -> {name}Row"
        case "update":
            return f"{first}, data: {name}Update, where: {where}, {params}list[{name}Row]"
        case "remove":
            return f"{first}, where: {where}, {params}list[{name}Row]"
    return f"{first}, where: {where} | None = ..., {params}list[{name}Row]"
