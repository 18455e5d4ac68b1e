"""Runs one request through a WSGI application (PEP 3333), such as Flask has."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from zmesh_runtime import web
from zmesh_runtime.failures import Failure
from zmesh_runtime.http import Response
from zmesh_runtime.zmesh import Zmesh

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
LARGEST_READY = 1024 * 1024
_STATUS = re.compile(r"(\d{3})(?: .*)?")


class WsgiHandler:
    """A handler that runs the application."""

    def __init__(self, application: Application) -> None:
        self._application = application

    def __call__(self, payload: Any, zmesh: Zmesh) -> Any:
        request = web.request_of(payload, zmesh)
        exchange = _Exchange(self._application, _environ_of(request, zmesh))
        if zmesh.request is None:
            return web.result_of(request, exchange.whole_response())
        return exchange.response()


class _Exchange:
    """One request to the application, and its response."""

    def __init__(self, application: Application, environ: dict[str, Any]) -> None:
        self._head: tuple[int, list[tuple[str, str]]] | None = None
        self._sent = False
        self._written: list[bytes] = []
        self._body = application(environ, self._start_response)
        self._pieces = self._pieces_of(self._body)
        self._first = next(self._pieces, None)  # may be what calls start_response

    def response(self) -> Response:
        """The whole response if its length is known and small, otherwise a stream."""
        status, headers = self._made_head()
        if self._is_short(headers):
            return self.whole_response()
        self._sent = True
        return web.made_response(self._rest(), status, headers)

    def whole_response(self) -> Response:
        body = b"".join(self._rest())
        return web.made_response(body, *self._made_head())

    def _start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], None]:
        if exc_info:
            try:
                if self._sent:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # PEP 3333: avoids a cycle
        elif self._head is not None:
            raise Failure("invalid_result", "the WSGI application called start_response twice without exc_info")
        found = _STATUS.fullmatch(status) if isinstance(status, str) else None
        if found is None:
            message = f'the WSGI application\'s status must be text such as "200 OK" (got {status!r})'
            raise Failure("invalid_result", message)
        web.made_response(None, int(found[1]), headers)
        self._head = int(found[1]), list(headers)
        return self._written.append

    def _pieces_of(self, body: Iterable[bytes]) -> Iterator[bytes]:
        try:
            for piece in body:
                if not isinstance(piece, bytes):
                    message = f"the WSGI application's body must be made of bytes (got {type(piece).__name__})"
                    raise Failure("invalid_result", message)
                yield from self._written
                self._written.clear()
                if piece:
                    yield piece
            yield from self._written
            self._written.clear()
        finally:
            if close := getattr(body, "close", None):
                close()

    def _rest(self) -> Iterator[bytes]:
        if self._first is not None:
            yield self._first
        yield from self._pieces

    def _made_head(self) -> tuple[int, list[tuple[str, str]]]:
        if self._head is None:
            raise Failure("invalid_result", "the WSGI application did not call start_response")
        return self._head

    def _is_short(self, headers: list[tuple[str, str]]) -> bool:
        if self._first is None or (isinstance(self._body, (list, tuple)) and len(self._body) == 1):
            return True
        length = next((value for name, value in headers if name.lower() == "content-length"), "")
        return length.isdecimal() and int(length) <= LARGEST_READY


def _environ_of(request: web.WebRequest, zmesh: Zmesh) -> dict[str, Any]:
    name, port = request.server
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": request.root_path,
        "PATH_INFO": request.path.decode("latin-1"),
        "QUERY_STRING": request.raw_query,
        "SERVER_NAME": name,
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": request.scheme,
        "wsgi.input": io.BytesIO(request.body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": True,
        "wsgi.run_once": True,
        "zmesh": zmesh,
    }
    for header, value in request.headers:
        key = header.upper().replace("-", "_")
        environ[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"] = value
    return environ
