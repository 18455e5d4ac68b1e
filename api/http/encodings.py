"""Bodies of requests that are compressed, read up to the size that any other body may have."""

from __future__ import annotations

import asyncio
import zlib
from typing import Any

from litestar import Request

from api.http.problems import Problem, too_large

LARGEST = 8 * 1024 * 1024
SLICE = 64 * 1024
ACCEPTED = "gzip, deflate"
GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS


async def decompressed_body(request: Request[Any, Any, Any]) -> bytes:
    """The whole body of a request without its Content-Encoding. Raises Problem 400, 413 or 415."""
    return await decompressed(await request.body(), request.headers.get("content-encoding", ""))


async def decompressed(body: bytes, encoding: str) -> bytes:
    """The body without its Content-Encoding, a slice at a time. Raises Problem 400, 413 or 415."""
    coding = encoding.strip().lower()
    if coding in ("", "identity"):
        return body
    if coding not in ("gzip", "x-gzip", "deflate"):
        raise Problem(
            415,
            "unsupported_encoding",
            f"The Content-Encoding {coding[:50]!r} is not supported.",
            f"Send the body uncompressed, or use one of: {ACCEPTED}.",
            headers={"Accept-Encoding": ACCEPTED},
        )
    try:
        return await _decompressed(body)
    except zlib.error as error:
        raise _malformed(coding) from error


async def _decompressed(body: bytes) -> bytes:
    inflater, pieces, size = zlib.decompressobj(GZIP_OR_ZLIB), [], 0
    for start in range(0, len(body), SLICE):
        rest, full = body[start : start + SLICE], True
        while rest or full:
            pieces.append(inflater.decompress(rest, SLICE))
            rest, full, size = inflater.unconsumed_tail, len(pieces[-1]) == SLICE, size + len(pieces[-1])
            if size > LARGEST:
                raise too_large("body, once it is decompressed,")
            await asyncio.sleep(0)  # others have their turn
    if body and (not inflater.eof or inflater.unused_data):
        raise _malformed("gzip or deflate")
    return b"".join(pieces)


def _malformed(coding: str) -> Problem:
    return Problem(400, "malformed_encoding", f"The body is not a complete {coding} stream.")
