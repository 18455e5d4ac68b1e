"""Streamed responses: passed on as their chunks arrive, and kept while they are short enough."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from typing import Any, Protocol

from sandbox.protocol.frames import FrameError

MOST_HEADERS = 100
LONGEST_VALUE = 8192  # characters of a header
MANY_PIECES = 10_000
SMALL_PIECE = 512
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


class Sink(Protocol):
    """Where the chunks of a response go. While it is full, nothing more is read from the run, which then waits."""

    def start(self, head: Mapping[str, Any]) -> None:
        """The response begins, with this status and these headers."""

    def write(self, data: bytes) -> None:
        """Take a piece; an empty one is the end of the response, of a run that goes on."""

    @property
    def full(self) -> bool:
        """Whether it can accept nothing more for now."""

    async def room(self) -> None:
        """Return when it is no longer full."""


class Streamed:
    """What a run has sent of a streamed response."""

    def __init__(self, limit: int, sink: Sink | None) -> None:
        """Up to `limit` bytes are kept as well as passed on."""
        self._limit = limit
        self._sink = sink
        self._head: Mapping[str, Any] | None = None
        self._kept = bytearray()
        self._bytes = 0
        self._pieces = 0
        self._complete = False

    def start(self, body: bytes) -> None:
        """Handle a frame with the head. Raises FrameError."""
        try:
            head = checked_head(json.loads(body))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise FrameError("invalid_result", f"The function's result is invalid: {error}") from error
        if self._head is not None:
            raise FrameError("protocol_error", "The function started a second response.")
        self._head = head
        if self._sink is not None:
            self._sink.start(head)

    def add(self, data: bytes) -> None:
        """Handle a frame with a chunk. Raises FrameError."""
        if self._head is None:
            raise FrameError("protocol_error", "The function sent a piece of a response that it had not begun.")
        if self._complete:
            raise FrameError("protocol_error", "The function sent a piece of a response after its end.")
        self._complete = not data
        self._pieces += 1
        self._bytes += len(data)
        if self._bytes <= self._limit:
            self._kept += data
        else:
            self._kept.clear()
        if self._sink is not None:
            self._sink.write(data)

    @property
    def kept_bytes(self) -> int:
        return len(self._kept)

    @property
    def full(self) -> bool:
        return self._sink is not None and self._sink.full

    @property
    def costly(self) -> bool:
        """Whether it is long, or has many small chunks: then it is read more slowly, so that it delays nobody else."""
        return self._bytes > self._limit or self._pieces > max(MANY_PIECES, self._bytes // SMALL_PIECE)

    async def room(self) -> None:
        if self._sink is not None:
            await self._sink.room()

    def response(self) -> Mapping[str, Any]:
        """The whole response; without its body if that was too long to keep. Raises ValueError."""
        if self._head is None:
            raise ValueError("the response has neither status nor headers")
        body = base64.b64encode(self._kept).decode()
        return {**self._head, "body_base64": body, "streamed_bytes": self._bytes, "kept": self._bytes <= self._limit}


def checked_head(value: Any) -> dict[str, Any]:
    """Status and headers that HTTP can carry; a header may have a list of values. Raises ValueError and similar."""
    status, headers = value["status"], value["headers"]
    if not isinstance(status, int) or not 200 <= status <= 599:
        raise ValueError("the status of a response must be a number from 200 to 599")
    lines = [
        (name, text) for name, given in headers.items() for text in (given if isinstance(given, list) else [given])
    ]
    if len(lines) > MOST_HEADERS:
        raise ValueError(f"a response may have at most {MOST_HEADERS} headers")
    for name, text in lines:
        if len(text) > LONGEST_VALUE:
            size = f"{len(text)} characters; at most {LONGEST_VALUE} are allowed"
            raise ValueError(f"the value of header {name[:100]} has {size}")
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(text):
            raise ValueError(f"{name!r} is not a valid header name or has an invalid value")
    return {"status": status, "headers": dict(headers)}
