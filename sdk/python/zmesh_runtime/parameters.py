"""Python values as parameters of a statement, and database values that Python's own types cannot hold."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, cast

import psycopg
from psycopg.abc import AdaptContext, Buffer
from psycopg.abc import Loader as AbstractLoader
from psycopg.adapt import AdaptersMap, Dumper, Loader, PyFormat, RecursiveDumper
from psycopg.pq import Format
from psycopg.types.json import JsonbDumper, set_json_dumps

from zmesh_runtime.results import is_record, to_json

_LISTS = (list, tuple, set, frozenset)
_UNTYPED = 0  # PostgreSQL infers the type from the context, as for a literal
_DATES_AND_TIMES = ("date", "timestamp", "timestamptz", "time", "timetz", "interval")
_NO_FIXED_LENGTH = (b"mon", b"year")  # units of an interval that a timedelta cannot hold


class Literal:
    """Text whose type is determined by the column."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


class Array:
    """Items of an array column, or of a list that a column is compared with. Nested lists are further dimensions."""

    __slots__ = ("dimensions", "items")

    def __init__(self, items: Any, dimensions: tuple[type, ...] = _LISTS) -> None:
        self.items = items
        self.dimensions = dimensions


def is_list(value: Any) -> bool:
    """Whether the value can represent an array."""
    return isinstance(value, _LISTS)


def plain(value: Any) -> Any:
    """A value for a column: numbers, booleans and dicts are stored as the column's type."""
    if isinstance(value, bool):
        return Literal("true" if value else "false")
    if isinstance(value, int):
        return Literal(str(int(value)))
    if isinstance(value, float):
        return Literal(_float_text(value))
    if isinstance(value, Decimal):
        return Literal(str(value))
    if isinstance(value, Mapping) or is_record(value):
        return Literal(to_json(value))
    return value


def listed(value: Any, element: str | None) -> Any:
    """A list for a column whose array elements are `json`, `composite` or any `other`; otherwise its JSON."""
    if element is None:
        return Literal(to_json(value))
    if element == "json":
        return Array([None if item is None else Literal(to_json(item)) for item in value])
    return Array(value, (list,) if element == "composite" else _LISTS)


def adapters() -> AdaptersMap:
    """psycopg's adapters, and ours."""
    own = AdaptersMap(psycopg.adapters)
    set_json_dumps(to_json, own)
    own.register_dumper(dict, type("DictDumper", (JsonbDumper,), {"_dumps": staticmethod(to_json)}))
    own.register_dumper(Literal, _LiteralDumper)
    own.register_dumper(Array, _ArrayDumper)
    for kind in (set, frozenset):
        own.register_dumper(kind, _ArrayDumper)
    for name in _DATES_AND_TIMES:
        own.register_loader(name, _or_text(name))
    return own


class _LiteralDumper(Dumper):
    oid = _UNTYPED

    def dump(self, obj: Literal) -> Buffer:
        return obj.text.encode()


class _ArrayDumper(RecursiveDumper):
    """An array literal. Unlike the driver's, it takes items of mixed types and declares no type."""

    oid = _UNTYPED

    def dump(self, obj: Any) -> Buffer:
        return self._array(obj if isinstance(obj, Array) else Array(obj))

    def _array(self, array: Array) -> bytes:
        return b"{" + b",".join(self._item(item, array.dimensions) for item in array.items) + b"}"

    def _item(self, item: Any, dimensions: tuple[type, ...]) -> bytes:
        if isinstance(item, dimensions):
            return self._array(Array(item, dimensions))
        item = plain(item)
        text = None if item is None else self._tx.get_dumper(item, PyFormat.TEXT).dump(item)
        if text is None:
            return b"NULL"
        return b'"' + bytes(text).replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def _or_text(type_name: str) -> type[Loader]:
    """The driver's loader, but text for values that Python cannot represent: infinity, years over 9999 or BC, 24:00."""
    known = psycopg.adapters
    driver = cast("type[AbstractLoader]", known.get_loader(known.types[type_name].oid, Format.TEXT))

    class OrText(Loader):
        def __init__(self, oid: int, context: AdaptContext | None = None) -> None:
            super().__init__(oid, context)
            self._driver = driver(oid, context)

        def load(self, data: Buffer) -> Any:
            text = bytes(data)
            if any(unit in text for unit in _NO_FIXED_LENGTH):
                return text.decode()
            try:
                return self._driver.load(text)
            except psycopg.DataError:
                return text.decode()

    return OrText


def _float_text(value: float) -> str:
    """Whole numbers without a fraction, so that integer columns accept them."""
    return f"{value:.0f}" if value.is_integer() else repr(float(value))
