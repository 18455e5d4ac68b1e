"""Response headers: checked when the response is made; when it is sent, wrong or forbidden ones are left out."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from typing import Any

Values = str | list[str]

_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_CONTROL = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f\ufffd]")
# The API leaves these out (api/invoking/response_headers.py): they apply to the whole host, or command a reverse proxy.
BEYOND_THE_FUNCTION = frozenset(
    {
        *("accept-ch", "accept-ch-lifetime", "alt-svc", "clear-site-data", "expect-ct", "nel", "origin-agent-cluster"),
        *("idp-signin-status", "public-key-pins", "public-key-pins-report-only", "report-to", "reporting-endpoints"),
        *("sec-session-challenge", "sec-session-registration", "secure-session-challenge"),
        *("secure-session-registration", "service-worker-allowed", "set-cookie2", "set-login", "shared-storage-write"),
        *("strict-transport-security", "use-as-dictionary"),
        *("x-accel-limit-rate", "x-accel-redirect", "x-lighttpd-send-file", "x-lighttpd-send-tempfile"),
        *("x-envoy-degraded", "x-envoy-immediate-health-check-fail", "x-envoy-overloaded"),
        *("x-litespeed-location", "x-reproxy-file", "x-reproxy-url"),
        *("x-sendfile", "x-sendfile-temporary", "x-sendfile2"),
    }
)


def checked_headers(headers: Any) -> dict[str, Values]:
    """Each header under its name as first written: the value, or a list of values. Takes mappings and pairs."""
    checked: dict[str, Values] = {}
    names: dict[str, str] = {}
    for name, given in _pairs_of(headers):
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a header name")
        values = list(given) if isinstance(given, (list, tuple)) else [given]
        if not values:
            raise ValueError(f"header {name} has an empty list of values; leave it out")
        known = names.setdefault(name.lower(), name)
        every = [*as_list(checked.get(known, [])), *(_checked_value(name, value) for value in values)]
        checked[known] = every[0] if len(every) == 1 else every
    return checked


def _pairs_of(headers: Any) -> Iterable[tuple[Any, Any]]:
    """HTTP libraries' header collections list a repeated name as several items."""
    for method in ("multi_items", "items"):
        if hasattr(headers, method):
            pairs: Iterable[tuple[Any, Any]] = getattr(headers, method)()
            return pairs
    return [(name, value) for name, value in headers]


def _checked_value(name: str, value: Any) -> str:
    if not isinstance(value, (str, int, float)) or not _VALUE.fullmatch(str(value)):
        raise ValueError(f"the value of header {name} must be text of one line, in Latin-1, not {value!r}")
    return str(value)


def as_list(values: Values) -> list[str]:
    """The values of a header."""
    return values if isinstance(values, list) else [values]


def first_value(headers: Mapping[str, Values], wanted: str) -> str | None:
    """The first value of a header, whatever its case."""
    return next((as_list(value)[0] for name, value in headers.items() if name.lower() == wanted), None)


def sent_headers(headers: Mapping[str, Values], body: bytes, is_text: bool) -> dict[str, Values]:
    """The headers to send with a body that begins with these bytes. Warns of headers that a function may not send."""
    sent = {}
    for name, value in headers.items():
        lower = name.lower()
        if lower in BEYOND_THE_FUNCTION or lower.startswith("x-zmesh-"):
            _warn(f"The response header {name} is not sent: it would apply beyond this function.")
            continue
        if lower == "content-encoding" and _is_stale(as_list(value)[-1], body, is_text):
            continue
        if lower == "set-cookie":
            _warn_of_host_cookies(as_list(value))
        sent[name] = value
    return sent


def _warn_of_host_cookies(cookies: list[str]) -> None:
    for cookie in cookies:
        name = cookie.partition("=")[0].strip()
        if name.lower().startswith("__host-"):
            _warn(
                f"The cookie {name} is sent only if the project has its own host name: its path covers the whole host."
            )


def _warn(message: str) -> None:
    logging.getLogger("zmesh").warning(message)


def _is_stale(encoding: str, body: bytes, is_text: bool) -> bool:
    """Whether Content-Encoding is left over from a response whose body has since been decoded, as HTTP clients do."""
    if not body:
        return False
    if is_text:
        return True
    match encoding.rpartition(",")[2].strip().lower():
        case "gzip" | "x-gzip":
            return not body.startswith(b"\x1f\x8b")
        case "deflate":
            return body[0] & 0x0F != 8 or int.from_bytes(body[:2], "big") % 31 != 0
        case "zstd":
            return not body.startswith(b"\x28\xb5\x2f\xfd")
        case "br":  # has no signature: a body that can be read as text is not compressed
            return not _CONTROL.search(body[:512].decode("utf-8", "replace").rstrip("\ufffd"))
    return False
