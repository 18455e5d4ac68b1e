"""Converts what a handler returns, and dict and list values, to JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from pathlib import PurePath
from typing import Any
from uuid import UUID

from psycopg.types.multirange import Multirange
from psycopg.types.range import Range

_AS_TEXT = (Decimal, UUID, PurePath, IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network)


class NotJson(ValueError):
    """The value has no JSON form."""


def to_json(value: Any, *, ascii_only: bool = False) -> str:
    """JSON text of a value. Dates become ISO text, Decimal and UUID text, sets and tuples lists. Raises NotJson."""
    try:
        text = (_ASCII_ENCODER if ascii_only else _ENCODER).encode(value)
        _check_keys(value)
        return text
    except NotJson:
        raise
    except RecursionError:
        raise NotJson("it is nested too deeply") from None
    except (TypeError, ValueError) as error:
        raise NotJson(_reason(error)) from None


def to_json_bytes(value: Any) -> bytes:
    """The same as UTF-8; text that is not valid Unicode (lone surrogates) is kept as escapes."""
    try:
        return to_json(value).encode()
    except UnicodeEncodeError:
        return to_json(value, ascii_only=True).encode()


def _reason(error: Exception) -> str:
    text = str(error)
    if "Circular" in text:
        return "it contains itself"
    if "Out of range float" in text:
        return "NaN and Infinity are not JSON numbers"
    return text


def _plain(value: Any) -> Any:
    match value:
        case datetime() | date() | time():
            return value.isoformat()
        case timedelta():
            return _iso_duration(value)
        case set() | frozenset():
            return list(value)
        case Mapping():
            return _checked(dict(value))
        case Enum():
            return value.value
        case Range():
            return _range_text(value)
        case Multirange():
            return "{" + ",".join(map(_range_text, value)) + "}"
        case bytes() | bytearray() | memoryview():
            raise NotJson("bytes are not JSON: return text, such as base64.b64encode(data).decode()")
    if isinstance(value, _AS_TEXT):
        return str(value)
    if is_record(value):
        return _checked(_record(value))
    if type(value).__module__ == "numpy" and value.dtype.kind in "biufU":
        return value.tolist()
    raise NotJson(f"an object of type {type(value).__name__} is not JSON")


def is_record(value: Any) -> bool:
    """Whether it is an instance of a dataclass, or of a model such as pydantic's."""
    if isinstance(value, type):
        return False
    return is_dataclass(value) or callable(getattr(type(value), "model_dump", None))


def _record(value: Any) -> Any:
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    return value.model_dump()


def _range_text(value: Range[Any]) -> str:
    """As PostgreSQL writes it, except dates with times, which are ISO 8601."""
    if value.isempty:
        return "empty"
    return f"{value.bounds[0]}{_bound_text(value.lower)},{_bound_text(value.upper)}{value.bounds[1]}"


def _bound_text(bound: Any) -> str:
    if bound is None:
        return ""
    text = bound.isoformat() if isinstance(bound, date) else str(bound)
    plain = text and not set(text) & set('()[],"\\ \t\n\r\v\f')
    return text if plain else '"' + text.replace("\\", "\\\\").replace('"', '""') + '"'


def _check_keys(value: Any) -> None:
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            waiting += _checked(one).values()
        elif isinstance(one, (list, tuple)):
            waiting += one


def _checked(mapping: dict[Any, Any]) -> dict[Any, Any]:
    """JSON keys are text: of 1 and "1" a reader would see only one."""
    if not all(isinstance(key, str) for key in mapping):
        names = {key if isinstance(key, str) else json.dumps(key) for key in mapping}
        if len(names) < len(mapping):
            raise NotJson(f"two keys of a dict have the same text (keys: {', '.join(map(repr, mapping))[:200]})")
    return mapping


def _iso_duration(value: timedelta) -> str:
    sign, value = ("-", -value) if value < timedelta(0) else ("", value)
    seconds = (
        f"{value.seconds}.{value.microseconds:06}".rstrip("0").rstrip(".") if value.microseconds else value.seconds
    )
    return f"{sign}P{value.days}DT{seconds}S"


def _encoder(ascii_only: bool) -> json.JSONEncoder:
    return json.JSONEncoder(default=_plain, allow_nan=False, ensure_ascii=ascii_only, separators=(",", ":"))


_ENCODER, _ASCII_ENCODER = _encoder(False), _encoder(True)
