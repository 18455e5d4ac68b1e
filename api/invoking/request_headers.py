"""What the headers of a request ask of an invocation: its options, and how long its caller waits (Prefer, RFC 7240)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

from litestar.connection import Request

from api.auth.callers import Credential, Policy
from api.http.problems import Problem
from sql.invocations import Options
from support.invocation_options import DELAY, EXPIRES_AT, IDEMPOTENCY_KEY, OPTIONS, RUN_AT, VERSION, InvocationOption

AnyRequest = Request[Any, Any, Any]
Value = TypeVar("Value")
LONGEST_WAIT = 900
TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


@dataclass(frozen=True, slots=True)
class Preference:
    """`respond_async`: do not wait, or no longer than `wait` seconds."""

    respond_async: bool = False
    wait: int | None = None


NO_PREFERENCE = Preference()


def preference_of(request: AnyRequest) -> Preference:
    """Unknown preferences are ignored, and of one that is repeated all but the first, as the RFC requires."""
    respond_async, wait = False, None
    for part in ",".join(request.headers.getall("prefer", [])).split(","):
        name, _, value = part.partition(";")[0].partition("=")
        match name.strip().lower():
            case "respond-async":
                respond_async = True
            case "wait" if wait is None and re.fullmatch(r'\s*"?[0-9]{1,9}"?\s*', value):
                wait = min(int(value.strip(' "')), LONGEST_WAIT)
    return Preference(respond_async, wait)


def require_allowed(request: AnyRequest, credential: Credential, function: Policy) -> None:
    """Raises Problem 403 for the first option that the function does not accept from its caller."""
    for option in OPTIONS:
        if option.header in request.headers:
            credential.require(function, option.permission, option.header)


def options_of(request: AnyRequest, *, version_in_query: bool = False) -> Options:
    """The options in the headers. With `version_in_query` the query may name the version. Raises Problem 400."""
    values = {option.name: _value(request, option) for option in OPTIONS if option is not IDEMPOTENCY_KEY}
    if version_in_query and values[VERSION.name] is None and (text := request.query_params.get("version")) is not None:
        values[VERSION.name] = _parse("The query parameter version", text, VERSION.parse)
    return Options(**_columns(values))


def _columns(values: dict[str, Any]) -> dict[str, Any]:
    """The columns of the invocation's row. Raises Problem 400 for times that contradict each other."""
    version, delay = values.pop(VERSION.name), values.pop(DELAY.name)
    run_at, expires_at = values[RUN_AT.name], values[EXPIRES_AT.name]
    now = datetime.now(UTC)
    if delay is not None:
        if run_at is not None:
            raise _invalid_header(DELAY.header, f"cannot be combined with {RUN_AT.header}")
        run_at = now + delay
    if expires_at is not None and expires_at <= max(now, run_at or now):
        raise _invalid_header(EXPIRES_AT.header, "must be later than the start of the invocation")
    number, alias = (version, None) if isinstance(version, int) else (None, version)
    return {**values, "version": number, "alias": alias, "run_at": run_at}


def idempotency_key_of(request: AnyRequest) -> str | None:
    """Raises Problem 400."""
    key: str | None = _value(request, IDEMPOTENCY_KEY)
    return key


def traceparent_of(request: AnyRequest) -> str | None:
    """The caller's W3C trace context; a malformed one is ignored, as the recommendation requires."""
    text: str = request.headers.get("traceparent", "").strip()
    return text if TRACEPARENT.fullmatch(text) else None


def _value(request: AnyRequest, option: InvocationOption) -> Any:
    texts = request.headers.getall(option.header, [])
    if len(set(texts)) > 1:
        raise _invalid_header(option.header, "was sent more than once, with different values")
    return _parse(option.header, texts[0], option.parse) if texts else None


def _parse(name: str, text: str, parse: Callable[[str], Value]) -> Value:
    try:
        return parse(text.strip())
    except ValueError as error:
        raise _invalid_header(name, str(error)) from error


def _invalid_header(name: str, message: str) -> Problem:
    return Problem(400, "invalid_header", f"{name} {message}.")
