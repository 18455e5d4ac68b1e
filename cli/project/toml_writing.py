"""Writes zmesh.toml: tables of plain values, as few lines as it takes."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

LARGEST_INT = 2**63 - 1
BARE = re.compile(r"[A-Za-z0-9_-]+")


def key(name: str) -> str:
    """A key, quoted where it must be."""
    return name if BARE.fullmatch(name) else text(name)


def text(value: str) -> str:
    """A basic string. JSON's escapes are TOML's, but for DEL and lone surrogates."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def can_be_written(value: Any) -> bool:
    """Whether TOML has this JSON value: it has no null and no integer above 64 bits."""
    if isinstance(value, dict):
        return all(can_be_written(each) for each in value.values())
    if isinstance(value, list):
        return all(can_be_written(each) for each in value)
    if isinstance(value, int) and not isinstance(value, bool):
        return -LARGEST_INT - 1 <= value <= LARGEST_INT
    return value is not None and not (isinstance(value, float) and not math.isfinite(value))


def inline(value: Any) -> str:
    """A value on one line."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return text(value)
    if isinstance(value, Mapping):
        pairs = ", ".join(f"{key(name)} = {inline(each)}" for name, each in value.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, list):
        return f"[{', '.join(inline(each) for each in value)}]"
    return repr(value)


def table(header: str, values: Mapping[str, Any]) -> str:
    """A table with its header, which may be empty."""
    lines = [header] if header else []
    return "\n".join([*lines, *(f"{key(name)} = {inline(value)}" for name, value in values.items())]) + "\n"
