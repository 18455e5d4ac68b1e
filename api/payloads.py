"""From an HTTP request to what a function gets: the payload, and the request itself as zmesh.request."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

import msgspec
from litestar import Request

from api.auth import KEY_PREFIX
from api.json_bodies import decode_json
from api.problems import Problem

Headers = Mapping[str, str]
AnyRequest = Request[Any, Any, Any]
EMPTY = "{}"
NOTHING = "null"
TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def payload_of(body: bytes, content_type: str) -> str:
    """The JSON text that becomes the payload.

    JSON is itself, no body is {}, a form is an object of its fields, text is a JSON string. Everything else
    is null: the function finds it in zmesh.request. Raises Problem 400 or 422 for bad JSON.
    """
    if not body:
        return EMPTY
    mime = content_type.partition(";")[0].strip().lower()
    if mime == "application/json" or mime.endswith("+json"):
        decode_json(body)
        return body.decode()
    if mime in ("", "application/x-www-form-urlencoded") and _looks_like_json(body):
        return body.decode()  # curl -d names JSON a form
    if mime == "application/x-www-form-urlencoded":
        return _form(body)
    return _text(body, content_type) if mime.startswith("text/") else NOTHING


def request_of(request: AnyRequest, path: str, body: bytes, *, without: str | None = None) -> str:
    """The JSON text of zmesh.request, without the caller's own credentials and the header `without`."""
    headers = headers_of(request)
    if without is not None:
        headers.pop(without, None)
    query = parse_qs(request.scope["query_string"].decode("latin-1"), keep_blank_values=True, errors="replace")
    return msgspec.json.encode(
        {
            "method": request.method,
            "path": path,
            "headers": headers,
            "query": query,
            "body_base64": base64.b64encode(body).decode(),
        }
    ).decode()


def headers_of(request: AnyRequest) -> dict[str, str]:
    """Headers by lower-case name, repeated ones joined; an API key of ours is left out."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in request.scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        if name == "x-api-key" or (name == "authorization" and _is_our_key(value)):
            continue
        joiner = "; " if name == "cookie" else ", "
        headers[name] = f"{headers[name]}{joiner}{value}" if name in headers else value
    return headers


def traceparent_of(request: AnyRequest) -> str | None:
    """The caller's W3C trace context; one that is malformed is ignored, as the recommendation asks."""
    given: str = request.headers.get("traceparent", "").strip()
    return given if TRACEPARENT.fullmatch(given) else None


def _is_our_key(authorization: str) -> bool:
    scheme, _, token = authorization.partition(" ")
    return scheme.lower() == "bearer" and token.strip().startswith(KEY_PREFIX)


def _looks_like_json(body: bytes) -> bool:
    if not body.lstrip().startswith((b"{", b"[")):
        return False
    try:
        decode_json(body)
    except Problem as problem:
        if problem.status == 422:
            raise
        return False
    return True


def _form(body: bytes) -> str:
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=10_000)
    except ValueError:
        return NOTHING
    single = {name: values[0] if len(values) == 1 else values for name, values in fields.items()}
    return _storable(msgspec.json.encode(single).decode())


def _text(body: bytes, content_type: str) -> str:
    charset = content_type.lower().partition("charset=")[2].split(";")[0].strip(' "') or "utf-8"
    try:
        return _storable(msgspec.json.encode(body.decode(charset)).decode())
    except (LookupError, UnicodeError):
        return NOTHING


def _storable(payload: str) -> str:
    """jsonb holds no NUL; what has one is left to zmesh.request."""
    return NOTHING if "\\u0000" in payload else payload
