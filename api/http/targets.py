"""The request target exactly as sent, in addition to the framework's decoded and normalized form."""

from __future__ import annotations

from typing import Any

from litestar import Request

PUBLIC_SEGMENTS = 3  # /api/functions/{slug}
HOOK_SEGMENTS = 2  # /hooks/{token}


def raw_target(request: Request[Any, Any, Any], segments: int) -> dict[str, str]:
    """The path below the first segments, which are the platform's, and the query: as they were sent."""
    path = bytes(request.scope.get("raw_path") or b"").partition(b"?")[0]
    return {
        "raw_path": _below(path, segments).decode("latin-1"),
        "raw_query": request.scope["query_string"].decode("latin-1"),
    }


def _below(path: bytes, segments: int) -> bytes:
    at = 0
    for _ in range(segments):
        while path[at : at + 1] == b"/":  # a doubled slash begins the same segment
            at += 1
        at = path.find(b"/", at)
        if at < 0:
            return b""
    return path[at:]
