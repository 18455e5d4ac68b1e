"""Heads of requests: how large they may be, and which are refused although the parser accepts them."""

from __future__ import annotations

from api.http.problems import Problem

LARGEST_HEAD = 32 * 1024
MOST_HEADERS = 100
Headers = list[tuple[bytes, bytes]]


def framing_of(headers: Headers) -> Headers:
    """The fields that say where the body ends."""
    return [(name, value) for name, value in headers if name in (b"content-length", b"transfer-encoding")]


def require_unambiguous(version: str, headers: Headers) -> None:
    """Raises ValueError for heads that the parser accepts, but a proxy may read as another request than we would."""
    codings = [value.strip().lower() for name, value in headers if name == b"transfer-encoding"]
    hosts = sum(name == b"host" for name, _ in headers)
    if version not in ("1.0", "1.1") or hosts > 1 or (codings and (codings != [b"chunked"] or version == "1.0")):
        raise ValueError("ambiguous head")


def head_too_large() -> Problem:
    """The refusal of one that is too large."""
    detail = (
        f"Request line and headers exceed {LARGEST_HEAD // 1024} KiB, or there are more than {MOST_HEADERS} headers."
    )
    return Problem(431, "headers_too_large", detail)
