"""The HTTP request that a run answers, and the raw response it may answer with."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping
from functools import cached_property
from typing import Any

from zmesh_runtime.headers import checked_headers, first_value, sent_headers
from zmesh_runtime.results import to_json_bytes

END_OF_BODY = object()  # from a stream: the response is complete, although work goes on


class Request:
    """The HTTP request behind this invocation."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        self.method: str = request["method"]
        self.path: str = request["path"]
        self.raw_path: str = request.get("raw_path", self.path)  # as it was sent, such as "/a%2Fb/"
        self.raw_query: str = request.get("raw_query", "")
        self.scheme: str = request.get("scheme", "http")
        self.root_path: str = request.get("root_path", "")  # of the function in the URL, without the path below it
        self.headers: dict[str, str] = {name.lower(): value for name, value in request["headers"].items()}
        self.query_all: dict[str, list[str]] = dict(request["query"])
        self.query: dict[str, str] = {name: values[0] for name, values in self.query_all.items() if values}
        # Why the payload is None although there is a body.
        self.unparsed_reason: str | None = request.get("unparsed_reason")
        self._body_base64: str = request.get("body_base64") or ""

    @cached_property
    def body(self) -> bytes:
        """The raw body, as the sender signed it."""
        return base64.b64decode(self._body_base64)

    def text(self) -> str:
        """The body as text, decompressed where it came compressed."""
        return self._content.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body parsed as JSON, decompressed where it came compressed."""
        return json.loads(self._content)

    @property
    def _content(self) -> bytes:
        if self.headers.get("content-encoding", "").strip().lower() in ("gzip", "x-gzip", "deflate"):
            return zlib.decompress(self.body, wbits=32 + zlib.MAX_WBITS)
        return self.body

    @property
    def unparsedReason(self) -> str | None:  # the JavaScript spelling
        return self.unparsed_reason

    @property
    def queryAll(self) -> dict[str, list[str]]:  # the JavaScript spelling
        return self.query_all

    @property
    def rawPath(self) -> str:
        return self.raw_path

    @property
    def rawQuery(self) -> str:
        return self.raw_query

    @property
    def rootPath(self) -> str:
        return self.root_path


class Response:
    """A raw HTTP response, to be returned by a handler.

    A body that is an iterator, such as a generator, is a `stream` and goes out piece by piece.
    """

    def __init__(self, body: Any = None, status: int = 200, headers: Any = None) -> None:
        if isinstance(status, bool) or not isinstance(status, int) or not 200 <= status <= 599:
            raise ValueError(f"status must be a whole number from 200 to 599, not {status!r}")
        self.status = status
        self.headers = checked_headers(headers or {})
        self.stream: Iterator[Any] | AsyncIterator[Any] = iter(())
        self.is_stream = is_stream(body)
        if self.is_stream:
            self.stream, self.body = body, b""
        else:
            self.body, content_type = _encoded(body)
            self._add_content_type(content_type)
        self._is_text = not isinstance(body, (bytes, bytearray, memoryview))

    @property
    def content_type(self) -> str | None:
        """The media type that a header names, without parameters."""
        given = first_value(self.headers, "content-type")
        return None if given is None else given.partition(";")[0].strip().lower()

    def _add_content_type(self, content_type: str | None) -> None:
        if content_type and self.content_type is None:
            self.headers["content-type"] = content_type

    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body parsed as JSON."""
        return json.loads(self.body)

    def head(self, content_type: str | None, piece: bytes = b"", *, is_text: bool = False) -> bytes:
        """The body of the frame that announces a stream which begins with a piece of this type."""
        self._add_content_type(content_type)
        return json.dumps({"status": self.status, "headers": sent_headers(self.headers, piece, is_text)}).encode()

    def frame(self) -> bytes:
        """The body of the frame that carries this response to the sandbox."""
        body = base64.b64encode(self.body).decode()
        headers = sent_headers(self.headers, self.body, self._is_text)
        return json.dumps({"status": self.status, "headers": headers, "body_base64": body}).encode()


def is_stream(value: Any) -> bool:
    """Whether a value is sent piece by piece."""
    return isinstance(value, (Iterator, AsyncIterator))


def _encoded(body: Any) -> tuple[bytes, str | None]:
    if body is None:
        return b"", None
    if isinstance(body, str):
        return body.encode("utf-8", "replace"), "text/plain; charset=utf-8"
    if isinstance(body, (bytes, bytearray, memoryview)):
        return bytes(body), "application/octet-stream"
    return to_json_bytes(body), "application/json"
