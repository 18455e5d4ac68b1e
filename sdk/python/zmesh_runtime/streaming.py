"""Streamed responses: each piece is sent as it comes, no faster than the client reads."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from zmesh_runtime import handlers
from zmesh_runtime.channel import Channel
from zmesh_runtime.failures import Failure
from zmesh_runtime.frames import CHUNK, LARGEST_CHUNK, STREAM
from zmesh_runtime.http import END_OF_BODY, Response
from zmesh_runtime.results import NotJson, to_json_bytes

EVENTS = "text/event-stream"


def send(channel: Channel, response: Response) -> None:
    """Send every piece. The head goes with the first one, so that an error before it is an ordinary failure."""
    started = False
    for piece in _pieces(response.stream):
        if piece is END_OF_BODY:
            if not started:
                channel.send(STREAM, response.head(None))
                started = True
            channel.send(CHUNK, b"")
            continue
        data, content_type = _encoded(piece, response.content_type == EVENTS)
        if not started:
            is_text = not isinstance(piece, (bytes, bytearray, memoryview))
            channel.send(STREAM, response.head(content_type, data, is_text=is_text))
            started = True
        for start in range(0, len(data), LARGEST_CHUNK):
            channel.send(CHUNK, data[start : start + LARGEST_CHUNK])
    if not started:
        channel.send(STREAM, response.head(None))


def _pieces(stream: Iterator[Any] | AsyncIterator[Any]) -> Iterator[Any]:
    if isinstance(stream, Iterator):
        yield from stream
        return
    while True:
        try:
            yield handlers.awaited(anext(stream))
        except StopAsyncIteration:
            return


def _encoded(piece: Any, as_event: bool) -> tuple[bytes, str]:
    """A piece as bytes, and the content type of a response whose first piece it is."""
    if isinstance(piece, str):
        return piece.encode("utf-8", "replace"), "text/plain; charset=utf-8"
    if isinstance(piece, (bytes, bytearray, memoryview)):
        return bytes(piece), "application/octet-stream"
    try:
        json = to_json_bytes(piece)
    except NotJson as error:
        raise Failure("invalid_result", f"a piece of the response is not JSON: {error}") from None
    return (b"data: " + json + b"\n\n" if as_event else json + b"\n"), "application/x-ndjson"
