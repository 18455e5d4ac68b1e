"""Frames between the sandbox and a run: a type byte, a big-endian length, a body. What a run sends is hostile."""

from __future__ import annotations

import struct
from collections.abc import Iterator

_HEAD = struct.Struct("!cI")
LOG, RESULT, RESPONSE, ERROR, BOOTED = b"L", b"R", b"H", b"E", b"B"
STREAM, CHUNK, STREAMED = b"S", b"C", b"Z"  # the head of a response, its pieces, and its end
ATTACHMENT = b"D"  # asks for a descriptor, which the answer brings, or not
FINAL = (RESULT, RESPONSE, ERROR, STREAMED)
LARGEST_LOG = 256 * 1024
LARGEST_ERROR = 1024 * 1024
LARGEST_HEAD = 65536
LARGEST_CHUNK = 64 * 1024


class FrameError(Exception):
    """The run sent what is no frame, or one larger than allowed; `kind` is the error type to report."""

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

    def __init__(self, result_bytes: int) -> None:
        self._largest = {
            LOG: LARGEST_LOG,
            RESULT: result_bytes,
            RESPONSE: result_bytes * 4 // 3 + LARGEST_HEAD,  # base64, and headers
            STREAM: LARGEST_HEAD,
            CHUNK: LARGEST_CHUNK,
            STREAMED: 0,
            ERROR: LARGEST_ERROR,
            BOOTED: 0,
            ATTACHMENT: 0,
        }
        self._once: set[bytes] = set()  # kinds that came and may not come again
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
                start = end
                yield kind, body
        finally:
            del self._buffer[:start]

    def _check(self, kind: bytes, length: int) -> None:
        largest = self._largest.get(kind)
        if largest is None or kind in self._once:
            raise FrameError("protocol_error", "The function wrote to the platform's own channel (descriptor 3).")
        if length > largest:
            if kind in (RESULT, RESPONSE):
                raise FrameError("result_too_large", f"The result has {length} bytes; {largest} are allowed.")
            raise FrameError("protocol_error", f"The function sent a frame of {length} bytes; {largest} are allowed.")
        if kind in (BOOTED, ATTACHMENT):
            self._once.add(kind)
