"""From an HTTP request to what a function gets: the payload, and the request itself as zmesh.request."""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import parse_qs, unquote, unquote_to_bytes

import msgspec
from litestar import Request

from api.http.charsets import charset_of, decoded
from api.http.json_bodies import (
    BYTE_ORDER_MARK,
    LARGEST_PAYLOAD,
    NUL_MESSAGE,
    PARSING,
    SMALL,
    check_json,
    checked_json,
    has_nul,
)
from api.http.json_scanning import SLICE
from api.http.problems import Problem, invalid, too_large
from api.http.targets import raw_target
from support.api_keys import is_api_key
from support.executors import breathe

Headers = Mapping[str, str]
AnyRequest = Request[Any, Any, Any]
EMPTY = "{}"
NULL = "null"
FORM = "application/x-www-form-urlencoded"
MOST_FIELDS = 10_000


class Wrapped(msgspec.Struct, forbid_unknown_fields=True):
    """The body of a request that is about a payload; `payload` is its text as it was written, so that no number changes
    on the way."""

    payload: msgspec.Raw = msgspec.Raw(EMPTY.encode())
    dry_run: bool = False

    @property
    def text(self) -> str:
        return bytes(self.payload).decode()


async def wrapped_of(body: bytes) -> Wrapped:
    """Raises Problem 400 or 422."""
    body = body.removeprefix(BYTE_ORDER_MARK)
    if not body:
        return Wrapped()
    text = await checked_json(body)
    try:
        return msgspec.json.decode(text, type=Wrapped)
    except msgspec.ValidationError as error:
        if unknown := re.search(r"unknown field `(.*)`", str(error), re.DOTALL):
            raise invalid(unknown[1], "unknown field", 'Put the arguments into "payload".') from error
        if "$.dry_run" in str(error):
            raise invalid("dry_run", "must be true or false") from error
        raise invalid("", 'the body must be an object: {"payload": …}') from error


async def payload_of(body: bytes, content_type: str) -> str:
    """The JSON text that becomes the payload.

    JSON is itself, no body is {}, a form is an object of its fields, text is a JSON string. Everything else
    is null: the function finds it in zmesh.request. Raises Problem 400, 415 or 422 for what cannot be read.
    """
    if len(body) <= SMALL:
        return _payload(body, content_type)
    return await PARSING.run(_payload, body, content_type)


def _payload(body: bytes, content_type: str) -> str:
    if not body:
        return EMPTY
    mime = content_type.partition(";")[0].strip().lower()
    if is_json(mime):
        return check_json(body.removeprefix(BYTE_ORDER_MARK))
    if mime in ("", FORM) and (text := _json_sent_as_form(body)) is not None:
        return text  # curl -d names JSON a form
    if mime == FORM:
        return _form(body, charset_of(content_type))
    return _text(body, charset_of(content_type)) if mime.startswith("text/") else NULL


def is_json(mime: str) -> bool:
    """Whether a media type is JSON's, or that of a format based on it."""
    return mime in ("application/json", "text/json") or mime.endswith("+json")


def unparsed_reason(payload: str, body: bytes, content_type: str) -> str | None:
    """Why the payload is null although there is a body; None if the payload was parsed."""
    mime = content_type.partition(";")[0].strip().lower()
    if payload != NULL or not body or is_json(mime):
        return None
    if not mime:
        return "The request has no Content-Type, and its body is not a JSON object or array."
    return f"A body of type {mime} is not parsed; read zmesh.request.body."


async def request_of(
    request: AnyRequest,
    path: str,
    body: bytes,
    *,
    segments: int,
    root_path: str = "",
    without: Collection[str] = (),
    unparsed: str | None = None,
) -> str:
    """The JSON text of zmesh.request, without the caller's own credentials and the headers `without`.

    `segments` of the request's path are the platform's, `root_path` where the function may know them; `unparsed` says
    why the body is not the payload.
    """
    headers = {name: value for name, value in headers_of(request).items() if name not in without}
    query = parse_qs(request.scope["query_string"].decode("latin-1"), keep_blank_values=True, errors="replace")
    head = {
        "method": request.method,
        "path": path,
        **raw_target(request, segments),
        "scheme": request.scope["scheme"],
        "root_path": root_path,
        **({} if unparsed is None else {"unparsed_reason": unparsed}),
        "headers": headers,
        "query": query,
    }
    return await _with_body_anywhere(head, body)


async def written_request(
    method: str, path: str, query: str, headers: Headers, body: bytes, *, root_path: str
) -> tuple[str, str]:
    """Payload and zmesh.request of a request that nobody sent: as the public route makes them of one that was, whose
    path and query were percent-encoded as here. Raises Problem 400, 415 or 422."""
    content_type = headers.get("content-type", "")
    payload = await payload_of(body, content_type)
    unparsed = unparsed_reason(payload, body, content_type)
    head = {
        "method": method,
        "path": unquote(path),
        "raw_path": "" if path == "/" else path,
        "raw_query": query,
        "scheme": "http",
        "root_path": root_path,
        **({} if unparsed is None else {"unparsed_reason": unparsed}),
        "headers": {"content-length": str(len(body)), **headers},
        "query": parse_qs(query, keep_blank_values=True, errors="replace"),
    }
    return payload, await _with_body_anywhere(head, body)


async def _with_body_anywhere(head: dict[str, Any], body: bytes) -> str:
    return _with_body(head, body) if len(body) <= SMALL else await PARSING.run(_with_body, head, body)


def _with_body(head: dict[str, Any], body: bytes) -> str:
    return msgspec.json.encode({**head, "body_base64": base64.b64encode(body).decode()}).decode()


def headers_of(request: AnyRequest) -> dict[str, str]:
    """Headers by lower-case name, repeated ones joined; without an API key of the platform."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in request.scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        if name == "x-api-key" or (name == "authorization" and _is_our_key(value)):
            continue
        joiner = "; " if name == "cookie" else ", "
        headers[name] = f"{headers[name]}{joiner}{value}" if name in headers else value
    return headers


def _is_our_key(authorization: str) -> bool:
    scheme, _, token = authorization.partition(" ")
    return scheme.lower() == "bearer" and is_api_key(token.strip())


def _json_sent_as_form(body: bytes) -> str | None:
    if not body.lstrip().startswith((b"{", b"[")):
        return None
    try:
        return check_json(body)
    except Problem as problem:
        if problem.status == 422:
            raise
        return None


def _form(body: bytes, charset: str) -> str:
    """The fields of a form whose percent-encoded and plain bytes are in this charset."""
    separators = body.count(b"&")
    if separators >= MOST_FIELDS:
        raise Problem(422, "invalid_input", f"The form has more than {MOST_FIELDS} fields.", "Send JSON instead.")
    fields: dict[str, list[str]] = {}
    for pair in body.split(b"&"):
        name, _, value = pair.partition(b"=")
        if pair:
            fields.setdefault(_unescaped(name, charset), []).append(_unescaped(value, charset))
    return _storable({name: values[0] if len(values) == 1 else values for name, values in fields.items()})


def _unescaped(part: bytes, charset: str) -> str:
    """Piece by piece: decoding a long text of escapes at once would block the interpreter."""
    part = part.replace(b"+", b" ")
    pieces, start = [], 0
    while start < len(part):
        end = start + SLICE
        if (cut := part.find(b"%", end - 2, end)) >= 0:
            end = cut
        breathe()
        pieces.append(unquote_to_bytes(part[start:end]))
        start = end
    return decoded(b"".join(pieces), charset)


def _text(body: bytes, charset: str) -> str:
    return _storable(decoded(body, charset))


def _storable(value: str | dict[str, str | list[str]]) -> str:
    """The value as JSON. Raises Problem 422 for a NUL, which jsonb cannot store."""
    if has_nul(value):
        raise Problem(
            422,
            "invalid_input",
            f"The text {NUL_MESSAGE}.",
            "Send it as application/octet-stream, and read zmesh.request.body in the function.",
        )
    if isinstance(value, str):
        return _quoted(value)
    return "{" + ",".join(f"{_quoted(name)}:{_quoted_values(one)}" for name, one in value.items()) + "}"


def _quoted_values(value: str | list[str]) -> str:
    return _quoted(value) if isinstance(value, str) else "[" + ",".join(map(_quoted, value)) + "]"


def _quoted(text: str) -> str:
    """As a JSON string, slice by slice: characters that are escaped take long."""
    pieces, size = [], 0
    for at in range(0, len(text), SLICE):
        breathe()
        piece = msgspec.json.encode(text[at : at + SLICE])[1:-1]
        size += len(piece)
        if size > LARGEST_PAYLOAD:  # here rather than by the database, to which all of it would be sent
            raise too_large("payload")
        pieces.append(piece.decode())
    return f'"{"".join(pieces)}"'
