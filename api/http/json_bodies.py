"""JSON from outside: what neither PostgreSQL nor the languages of functions can hold is refused here."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec
from litestar import Request
from litestar.datastructures import State

from api.http.encodings import decompressed_body
from api.http.json_scanning import has_escaped_nul, has_more_values_than, has_number_out_of_range
from api.http.multipart import read_upload
from api.http.problems import Problem
from support.executors import Executor

MIB = 1024 * 1024
LARGEST_PAYLOAD = 8 * MIB
SMALL = 64 * 1024  # what is not larger takes a millisecond or two, where it is
MOST_VALUES = 20_000  # in the body of a management request
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
MOST_MEMBERS = 2_000  # of these, beside a payload and files
UPLOADS = "uploads"  # an option of handlers that accept multipart/form-data as well
NUL_MESSAGE = "contains a NUL character, which PostgreSQL cannot store"


# Texts of tenants and clients that are too large for the event loop are read here.
PARSING = Executor("parsing", 2, at_length=Executor("parsing at length", 1))


class JsonRequest(Request[Any, Any, State]):
    """A request whose JSON body is decoded by our rules; NUL characters are left to its model, which names fields."""

    async def json(self) -> Any:
        body = await decompressed_body(self)
        kind, options = self.content_type
        if kind == "multipart/form-data" and UPLOADS in self.route_handler.opt:
            return await PARSING.run(read_upload, body, options.get("boundary", ""), _values)
        body = body.removeprefix(BYTE_ORDER_MARK)
        return _values(body) if len(body) <= SMALL else await PARSING.run(_values, body)


async def checked_json(body: bytes) -> str:
    """The JSON text, unchanged. Raises Problem 400 if it is not JSON, 422 if it could not be stored."""
    return check_json(body) if len(body) <= SMALL else await PARSING.run(check_json, body)


def check_json(body: bytes) -> str:
    """The same where the caller is."""
    text = _decoded(body, msgspec.Raw)[0]
    if has_escaped_nul(text):
        raise _unstorable(f"The JSON {NUL_MESSAGE}.", "Encode binary data, for example as base64.")
    if has_number_out_of_range(text):
        raise _out_of_range()
    return text


async def check_agents_message(body: bytes) -> None:
    """Raises Problem for a message with too many values for its readers, which read it on the event loop."""
    await PARSING.run(_check_agents_message, body)


def _check_agents_message(body: bytes) -> None:
    if len(body) > SMALL and has_more_values_than(MOST_VALUES, _decoded(body, msgspec.Raw)[0]):
        raise _too_many_values(MOST_VALUES)
    message = _decoded(body, Any)[1]
    match message:
        case {"params": {"arguments": {"payload": _} as arguments}}:
            del arguments["payload"]  # any value is allowed in it
    if _counts_more_than(MOST_MEMBERS, message, apart=()):
        raise _too_many_values(MOST_MEMBERS, " outside payload")


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


def _values(body: bytes) -> Any:
    """Every value of a JSON text. Raises Problem."""
    if len(body) > SMALL and has_more_values_than(MOST_VALUES, _decoded(body, msgspec.Raw)[0]):
        raise _too_many_values(MOST_VALUES)
    value = _decoded(body, Any)[1]
    # What is wrong with each of them makes an error of its own, which costs far more than the value.
    named = {name: one for name, one in value.items() if name != "payload"} if isinstance(value, dict) else value
    if _counts_more_than(MOST_MEMBERS, named):
        raise _too_many_values(MOST_MEMBERS, " outside payload and files")
    return value


def _counts_more_than(most: int, value: Any, apart: Collection[str] = ("files",)) -> bool:
    """Whether it has more members and elements than that, apart from those members, which are checked as a whole."""
    count, waiting = 0, [value]
    while waiting and count <= most:
        one = waiting.pop()
        if isinstance(one, dict):
            named = {name: value for name, value in one.items() if name not in apart}
            count += len(named)
            waiting += named.values()
        elif isinstance(one, list):
            count += len(one)
            waiting += one
    return count > most


def _decoded(body: bytes, kind: Any) -> tuple[str, Any]:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _malformed(f"The body is not valid UTF-8 (byte {error.start}).") from error
    try:
        return text, msgspec.json.decode(text, type=kind)
    except RecursionError as error:
        raise _unstorable("The JSON is nested too deeply.") from error
    except msgspec.DecodeError as error:
        raise _problem_of(text, error) from error
    except ValueError as error:
        raise _unstorable("The JSON contains a number that is too long.") from error


def _problem_of(text: str, error: msgspec.DecodeError) -> Problem:
    if isinstance(error, msgspec.ValidationError):  # well formed, but beyond what a double can be
        return _out_of_range()
    if ("\\ud" in text or "\\uD" in text) and _is_json_but_for_surrogates(text):
        return _unstorable(
            "The JSON contains an unpaired surrogate, which is not a character.",
            "Encode binary data, for example as base64.",
        )
    reason = str(error).removeprefix("JSON is malformed: ")
    return _malformed("The body is empty." if not text else f"The body is not JSON: {reason}.")


def _is_json_but_for_surrogates(text: str) -> bool:
    try:
        msgspec.json.decode(text.replace("\\ud", "\\u0").replace("\\uD", "\\u0"), type=msgspec.Raw)
    except (ValueError, RecursionError):
        return False
    return True


def _malformed(detail: str) -> Problem:
    return Problem(400, "malformed_json", detail)


def _too_many_values(most: int, where: str = "") -> Problem:
    return _unstorable(f"The JSON contains more than {most} values{where}.", "Send less in one request.")


def _out_of_range() -> Problem:
    return _unstorable("The JSON contains a number that is out of range.")


def _unstorable(detail: str, hint: str = "") -> Problem:
    return Problem(422, "invalid_input", detail, hint)
