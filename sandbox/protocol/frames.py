"""The host's side of a run's channel: frames of the kinds in table.py, of which what a run sends is hostile."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from sandbox.protocol.table import FRAME_HEAD, FROM_RUN, TO_RUN

_HEAD = struct.Struct(FRAME_HEAD)
JOB, FILES, PAYLOAD = TO_RUN["JOB"].kind, TO_RUN["FILES"].kind, TO_RUN["PAYLOAD"].kind
BOOTED, LOG, ATTACHMENT = FROM_RUN["BOOTED"].kind, FROM_RUN["LOG"].kind, FROM_RUN["ATTACHMENT"].kind
IMPORTED = FROM_RUN["IMPORTED"].kind
STREAM, CHUNK, STREAMED = FROM_RUN["STREAM"].kind, FROM_RUN["CHUNK"].kind, FROM_RUN["STREAMED"].kind
RESULT, RESPONSE, ERROR = FROM_RUN["RESULT"].kind, FROM_RUN["RESPONSE"].kind, FROM_RUN["ERROR"].kind
FINAL = tuple(frame.kind for frame in FROM_RUN.values() if frame.final)


class FrameError(Exception):
    """The run sent what is not a frame, or one larger than allowed; `kind` is the error type to report."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def encode(kind: bytes, body: bytes) -> bytes:
    """One frame."""
    return head(kind, len(body)) + body


def head(kind: bytes, length: int) -> bytes:
    """What comes before a body of so many bytes."""
    return _HEAD.pack(kind, length)


class FrameParser:
    """Cuts a byte stream into frames; holds no more than one frame of allowed size."""

    def __init__(self, result_bytes: int, attachments: int | None = None) -> None:
        """`attachments` are how many a run may ask for, where that is not the usual number."""
        self._largest = {frame.kind: frame.largest_body(result_bytes) for frame in FROM_RUN.values()}
        self._left = {frame.kind: frame.most for frame in FROM_RUN.values() if frame.most is not None}
        if attachments is not None:
            self._left[ATTACHMENT] = attachments
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The frames that are complete now. Raises FrameError."""
        self._buffer += data
        start = 0
        try:
            while len(self._buffer) - start >= _HEAD.size:
                kind, length = _HEAD.unpack_from(self._buffer, start)
                self._check(kind, length)
                end = start + _HEAD.size + length
                if len(self._buffer) < end:
                    return
                body = bytes(self._buffer[start + _HEAD.size : end])
                if kind in self._left:
                    self._left[kind] -= 1
                start = end
                yield kind, body
        finally:
            del self._buffer[:start]

    def _check(self, kind: bytes, length: int) -> None:
        largest = self._largest.get(kind)
        if largest is None or self._left.get(kind) == 0:
            raise FrameError("protocol_error", "The function wrote to the platform's own channel (descriptor 3).")
        if length > largest:
            if kind in (RESULT, RESPONSE):
                raise FrameError("result_too_large", f"The result has {length} bytes; {largest} are allowed.")
            if kind == STREAM:
                raise FrameError("invalid_result", f"The headers have {length} bytes; {largest} are allowed.")
            raise FrameError("protocol_error", f"The function sent a frame of {length} bytes; {largest} are allowed.")
