"""Payloads as they are given on the command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import NoReturn

import click


def read_payload(data: str) -> str:
    """The JSON text, kept as it was written; `data` is JSON, @FILE, or - for standard input."""
    try:
        if data == "-":
            text = sys.stdin.read().removeprefix("\ufeff")
        elif data.startswith("@"):
            text = Path(data[1:]).read_text("utf-8-sig")
        else:
            text = data
        json.loads(text, parse_constant=_no_constant)
    except OSError as error:
        raise click.BadParameter(f"{data[1:]} cannot be read: {error.strerror}.", param_hint="--data") from error
    except ValueError as error:
        raise click.BadParameter(f"not valid JSON: {error}.", param_hint="--data") from error
    return text


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")
