"""From what a handler returns, and from dict and list values, to JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from typing import Any
from uuid import UUID

_AS_TEXT = (Decimal, UUID, IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network)


class NotJson(ValueError):
    """The value has no JSON form."""


def to_json(value: Any, *, ascii_only: bool = False) -> str:
    """JSON text of a value. Dates become ISO text, Decimal and UUID text, sets and tuples lists."""
    try:
        return (_ASCII_ENCODER if ascii_only else _ENCODER).encode(value)
    except NotJson:
        raise
    except RecursionError:
        raise NotJson("it is nested too deeply") from None
    except (TypeError, ValueError) as error:
        raise NotJson(_reason(error)) from None


def to_json_bytes(value: Any) -> bytes:
    """The same as UTF-8; text that is no Unicode (lone surrogates) is kept as escapes."""
    try:
        return to_json(value).encode()
    except UnicodeEncodeError:
        return to_json(value, ascii_only=True).encode()


def _reason(error: Exception) -> str:
    text = str(error)
    if "Circular" in text:
        return "it contains itself"
    if "Out of range float" in text:
        return "NaN and Infinity are no JSON numbers"
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
            return dict(value)
        case bytes() | bytearray() | memoryview():
            raise NotJson("bytes are not JSON: return text, such as base64.b64encode(data).decode()")
    if isinstance(value, _AS_TEXT):
        return str(value)
    raise NotJson(f"an object of type {type(value).__name__} is not JSON")


def _iso_duration(value: timedelta) -> str:
    sign, value = ("-", -value) if value < timedelta(0) else ("", value)
    seconds = (
        f"{value.seconds}.{value.microseconds:06}".rstrip("0").rstrip(".") if value.microseconds else value.seconds
    )
    return f"{sign}P{value.days}DT{seconds}S"


def _encoder(ascii_only: bool) -> json.JSONEncoder:
    return json.JSONEncoder(default=_plain, allow_nan=False, ensure_ascii=ascii_only, separators=(",", ":"))


_ENCODER, _ASCII_ENCODER = _encoder(False), _encoder(True)
