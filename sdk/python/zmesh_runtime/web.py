"""Requests and responses for applications of web frameworks, including invocations that are not HTTP requests."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from zmesh_runtime.failures import Failure
from zmesh_runtime.http import Response
from zmesh_runtime.results import to_json_bytes
from zmesh_runtime.zmesh import Zmesh

LONGEST_EXCERPT = 200
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class WebRequest:
    """A request; the application is mounted at `root_path`."""

    method: str
    scheme: str
    root_path: str
    raw_path: str
    raw_query: str
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def path(self) -> bytes:
        """The decoded path below `root_path`."""
        return unquote_to_bytes(self.raw_path)

    @property
    def server(self) -> tuple[str, int]:
        """Host and port that the client addressed."""
        host = dict(self.headers).get("host") or "localhost"
        name, _, port = host.rpartition(":")
        return (name, int(port)) if name and port.isdecimal() else (host, _PORTS.get(self.scheme, 80))


def request_of(payload: Any, zmesh: Zmesh) -> WebRequest:
    """The HTTP request of this invocation; without one, a POST whose JSON body is the payload."""
    request = zmesh.request
    if request is None:
        headers = [("content-type", "application/json"), ("x-zmesh-source", zmesh.invocation.source or "api")]
        if zmesh.invocation.id is not None:
            headers.append(("x-zmesh-invocation-id", zmesh.invocation.id))
        body = to_json_bytes(payload)
        return WebRequest("POST", "http", "", "/", "", [*headers, ("content-length", str(len(body)))], body)
    # No client may impersonate the platform: WSGI maps x-zmesh-source and x_zmesh_source to the same name.
    headers = [
        (name, value)
        for name, value in request.headers.items()
        if "_" not in name and not name.startswith("x-zmesh-") and name not in ("content-length", "transfer-encoding")
    ]
    if request.body or "content-length" in request.headers:
        headers.append(("content-length", str(len(request.body))))
    return WebRequest(
        method=request.method,
        scheme=request.scheme,
        root_path=request.root_path,
        raw_path=request.raw_path or "/",
        raw_query=request.raw_query,
        headers=headers,
        body=request.body,
    )


def made_response(body: Any, status: Any, headers: list[tuple[str, str]]) -> Response:
    """Raises Failure for an invalid status or header."""
    try:
        return Response(body or None, status, headers)  # an empty body has no type, unless a header names one
    except (TypeError, ValueError) as error:
        raise Failure("invalid_result", f"the application's response is not valid HTTP: {error}") from None


def result_of(request: WebRequest, response: Response) -> Any:
    """The result of an invocation that is not an HTTP request. A status of 400 or higher fails it, so it is retried."""
    if response.status >= 400:
        text = response.text()
        excerpt = text[:LONGEST_EXCERPT] + ("…" if len(text) > LONGEST_EXCERPT else "")
        asked = f"{request.method} {request.raw_path}"
        raise Failure(
            "http_error", f"the application answered {asked} with status {response.status}: {excerpt}".rstrip(": ")
        )
    if not response.body:
        return None
    kind = response.content_type or ""
    if kind.endswith(("/json", "+json")):
        try:
            return json.loads(response.body)
        except ValueError as error:
            message = f"the response has a JSON content type, but its body is not JSON: {error}"
            raise Failure("invalid_result", message) from None
    return response.text() if kind.startswith("text/") else response
