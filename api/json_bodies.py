"""JSON from outside: what neither PostgreSQL nor the languages of functions can hold is refused here."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from litestar import Request
from litestar.datastructures import State

from api.problems import Problem

MIB = 1024 * 1024
LARGEST_PAYLOAD = 8 * MIB
NUL_MESSAGE = "has a NUL character, which PostgreSQL cannot store"


class JsonRequest(Request[Any, Any, State]):
    """A request whose JSON body is decoded by our rules; NUL characters are left to its model, which names fields."""

    async def json(self) -> Any:
        return _decoded(await self.body())[1]


def decode_json(body: bytes) -> Any:
    """The value of a JSON text. Raises Problem 400 when it is none, 422 when it could not be stored."""
    text, value = _decoded(body)
    if "\\u0000" in text and has_nul(value):
        raise _unstorable(f"The JSON {NUL_MESSAGE}.", "Encode binary data, for example as base64.")
    return value


def has_nul(value: Any) -> bool:
    """Whether any text in a JSON value has a NUL character."""
    waiting = [value]
    while waiting:
        match waiting.pop():
            case str() as text if "\x00" in text:
                return True
            case dict() as members:
                waiting += members.keys()
                waiting += members.values()
            case list() as items:
                waiting += items
    return False


def _decoded(body: bytes) -> tuple[str, Any]:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _malformed(f"The body is not UTF-8 (byte {error.start}).") from error
    try:
        return text, msgspec.json.decode(text)
    except RecursionError as error:
        raise _unstorable("The JSON is nested too deeply.") from error
    except msgspec.DecodeError as error:
        raise _problem_of(text, error) from error
    except ValueError as error:
        raise _unstorable("The JSON has a number that is too long.") from error


def _problem_of(text: str, error: msgspec.DecodeError) -> Problem:
    if isinstance(error, msgspec.ValidationError):  # well formed, but beyond what a double can be
        return _unstorable("The JSON has a number that is out of range.")
    if "\\ud" in text.lower() and _is_json_to_python(text):
        return _unstorable(
            "The JSON has half of a surrogate pair, which is no character.",
            "Encode binary data, for example as base64.",
        )
    reason = str(error).removeprefix("JSON is malformed: ")
    return _malformed("The body is empty." if not text else f"The body is not JSON: {reason}.")


def _is_json_to_python(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _malformed(detail: str) -> Problem:
    return Problem(400, "malformed_json", detail)


def _unstorable(detail: str, hint: str = "") -> Problem:
    return Problem(422, "invalid_input", detail, hint)
