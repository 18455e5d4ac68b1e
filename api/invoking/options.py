"""Invocation options as headers, on both routes, as far as the caller may set them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from litestar.connection import Request

from api.auth.callers import Credential, Policy
from api.http.problems import Problem
from sql.invocations import Options

AnyRequest = Request[Any, Any, Any]
Value = TypeVar("Value")
PREFIX = "x-zmesh-"
LONGEST_DELAY = timedelta(days=3650)
LATEST = 2**31 - 1
# The headers after their prefix, and which option of anonymous_options and key_options lets a caller send them.
ALLOWED_BY = {
    "version": "version",
    "priority": "priority",
    "run-at": "delay",
    "delay": "delay",
    "expires-at": "expires_at",
    "max-attempts": "max_attempts",
    "concurrency-key": "concurrency_key",
    "callback-url": "callback_url",
}


def require_allowed(request: AnyRequest, credential: Credential, function: Policy) -> None:
    """Raises Problem 403 for the first header of an invocation that its caller may not send."""
    for name, option in ALLOWED_BY.items():
        if PREFIX + name in request.headers:
            credential.require(function, option, f"{PREFIX}{name}".title())
    if "idempotency-key" in request.headers:
        credential.require(function, "idempotency_key", "Idempotency-Key")


def options_of(request: AnyRequest, *, by_query: bool = False) -> Options:
    """The options in the headers. The version may stand in the query instead, where that is not the function's own.

    Raises Problem 400.
    """
    version, alias = _version(request, by_query=by_query)
    run_at = _header(request, "run-at", _time)
    delay = _header(request, "delay", _delay)
    expires_at = _header(request, "expires-at", _time)
    if run_at is not None and delay is not None:
        raise _invalid("X-Zmesh-Delay", "goes without X-Zmesh-Run-At")
    now = datetime.now(UTC)
    starts_at = run_at if delay is None else now + delay
    if expires_at is not None and expires_at <= max(now, starts_at or now):
        raise _invalid("X-Zmesh-Expires-At", "is over before the invocation may start")
    return Options(
        version=version,
        alias=alias,
        priority=_header(request, "priority", lambda text: _integer(text, -100, 100)),
        run_at=starts_at,
        expires_at=expires_at,
        max_attempts=_header(request, "max-attempts", lambda text: _integer(text, 1, 100)),
        concurrency_key=_header(request, "concurrency-key", _key),
        callback_url=_header(request, "callback-url", _url),
    )


def _version(request: AnyRequest, *, by_query: bool) -> tuple[int | None, str | None]:
    named = _header(request, "version", _version_or_alias)
    if named is None and by_query and (text := request.query_params.get("version")) is not None:
        named = _read("The query's version", text, _version_or_alias)
    if named is None:
        return None, None
    return (named, None) if isinstance(named, int) else (None, named)


def _header(request: AnyRequest, name: str, read: Callable[[str], Value]) -> Value | None:
    text = request.headers.get(PREFIX + name)
    return None if text is None else _read(f"{PREFIX}{name}".title(), text, read)


def _read(name: str, text: str, read: Callable[[str], Value]) -> Value:
    try:
        return read(text.strip())
    except ValueError as error:
        raise _invalid(name, str(error)) from error


def _invalid(name: str, message: str) -> Problem:
    return Problem(400, "invalid_header", f"{name} {message}.")


def _integer(text: str, least: int, most: int) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,10}", text) or not least <= int(text) <= most:
        raise ValueError(f"has to be a whole number from {least} to {most}")
    return int(text)


def _version_or_alias(text: str) -> int | str:
    if re.fullmatch(r"[a-z][a-z0-9-]{0,62}", text):
        return text
    try:
        return _integer(text, 1, LATEST)
    except ValueError as error:
        raise ValueError("has to be the number of a version or the name of an alias") from error


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError("has to be a time such as 2026-05-01T09:30:00Z") from error
    if time.tzinfo is None:
        raise ValueError("has to say its time zone, as in 2026-05-01T09:30:00Z")
    try:
        return time.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("is out of range") from error


def _delay(text: str) -> timedelta:
    try:
        seconds = float(text)
    except ValueError as error:
        raise ValueError("has to be a number of seconds") from error
    if not math.isfinite(seconds) or not 0 <= seconds <= LONGEST_DELAY.total_seconds():
        raise ValueError(f"has to be from 0 to {LONGEST_DELAY.days} days, in seconds")
    return timedelta(seconds=seconds)


def _url(text: str) -> str:
    if not re.fullmatch(r"https?://[^\s/?#@\\]+([/?#]\S*)?", text) or not text.isascii() or len(text) > 2000:
        raise ValueError("has to be an http:// or https:// address without a password, of at most 2000 characters")
    return text


def _key(text: str) -> str:
    if not re.fullmatch(r"[\x20-\x7e]{1,255}", text):
        raise ValueError("has to be 1 to 255 printable ASCII characters")
    return text
