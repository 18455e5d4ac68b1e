"""Around the whole application: one log line per request, headers for every response, bodies read to their end."""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from api.http.hosts import Hosts, host_of
from api.http.problems import MEDIA_TYPE, Problem, not_found_here
from observing.events import RequestAnswered
from observing.logs import invocation_id, request_id
from observing.stream import emit

PUBLIC = "/api/functions/"
HOOKS = "/hooks/"
CONSOLE_PATH = "/console/"
CONSOLE_API = "/console/api"  # the management API for pages of the console, which the session cookie is for
NOT_FOR_THE_CONSOLE = ("/auth/", "/api/", HOOKS, "/console", "/schema")
CONSOLE_SCOPE = "zmesh.console"  # true for a request to the API below /console
SESSION_COOKIE = "zmesh-console"
SESSION_COOKIE_OVER_TLS = "__Secure-zmesh-console"
# Where the guard of the public route leaves the CORS headers that a function allows.
CORS_SCOPE = "zmesh.cors"
NO_ROUTE = "none"  # refused before there was one
DRAIN_BYTES = 64 * 1024 * 1024
DRAIN_SECONDS = 5.0
REQUEST_ID = re.compile(rb"[!-~]{1,128}")
Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Any, Any, Any], Awaitable[None]]
Header = tuple[bytes, bytes]

SECURITY: tuple[Header, ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
)
# Whoever has an API key may call from any page; cookies play no part.
CORS: tuple[Header, ...] = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", b"*"),
)
METHODS = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"


class Edge:
    """The outermost ASGI layer."""

    def __init__(self, app: App, project_hosts: Hosts) -> None:
        self._app = app
        self._project_hosts = project_hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["path"].startswith(CONSOLE_PATH):
            _enter_console(scope)
        else:
            _remove_session_cookie(scope)
        exchange = _Exchange(scope, receive, send)
        request_id.set(exchange.request_id)
        invocation_id.set(None)  # the task of a pipelined request begins as a copy of the one before
        try:
            if _is_preflight(scope):
                await exchange.answer_preflight()
            elif self._is_hidden(scope):
                await exchange.answer_not_found()
            else:
                await self._app(scope, exchange.receive, exchange.send)
        finally:
            exchange.tell()

    def _is_hidden(self, scope: Scope) -> bool:
        """Logins are refused on a project's host, because its functions control the pages there."""
        host = host_of(header_of(scope, b"host"))
        return host in self._project_hosts and not scope["path"].startswith((PUBLIC, HOOKS))


def header_of(scope: Scope, name: bytes) -> str:
    """The first header of this name in lower case; nothing where there is none."""
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


async def send_problem(problem: Problem, send: Send) -> None:
    """Answer a request that goes no further than a layer of ASGI."""
    headers = {"content-type": MEDIA_TYPE, **problem.headers}
    encoded = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": problem.status, "headers": encoded})
    await send({"type": "http.response.body", "body": problem.body()})


class _Exchange:
    """One request and its response."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._started = time.perf_counter()
        self._status = 0
        self._body_ended = False
        self._gone = False  # its client hung up within the body
        self._public = scope["path"].startswith(PUBLIC)
        self._request_id = _request_id(scope)

    @property
    def request_id(self) -> str:
        return self._request_id.decode()

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect" and not self._body_ended:
            self._gone = True
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            self._body_ended = True
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._drain()
            self._status = message["status"]
            headers: list[Header] = list(message["headers"])
            headers.append((b"x-request-id", self._request_id))
            _add_missing(headers, SECURITY)
            _add_missing(headers, self._defaults())
            message["headers"] = headers
        await self._send(message)

    def _defaults(self) -> tuple[Header, ...]:
        if self._public:
            narrowed: tuple[Header, ...] | None = self._scope.get(CORS_SCOPE)
            return CORS if narrowed is None else narrowed
        return ((b"cache-control", b"no-store"),)

    async def _drain(self) -> None:
        """Read what is left of the body: closing early would cut the client off before it sees the answer."""
        read = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                while not self._body_ended and read < DRAIN_BYTES:
                    read += len((await self.receive()).get("body", b""))

    async def answer_preflight(self) -> None:
        asked = dict(self._scope["headers"]).get(b"access-control-request-headers", b"*")
        allowed = asked if _is_plain(asked) else b"*"
        headers = [
            (b"access-control-allow-methods", METHODS),
            (b"access-control-allow-headers", allowed),
            (b"access-control-max-age", b"86400"),
            (b"vary", b"access-control-request-headers"),
        ]
        await self.send({"type": "http.response.start", "status": 204, "headers": headers})
        await self.send({"type": "http.response.body", "body": b""})

    async def answer_not_found(self) -> None:
        await send_problem(not_found_here(), self.send)

    def tell(self) -> None:
        """Emit how the request was answered."""
        path = self._scope["path"]
        if path.startswith(HOOKS):
            path = f"{HOOKS}***"  # the token is a secret
        emit(
            RequestAnswered(
                method=self._scope["method"],
                route=self._scope.get("path_template") or NO_ROUTE,
                path=_printable(path),
                status=0 if self._gone else self._status,  # no error of ours, which operators would look into
                milliseconds=(time.perf_counter() - self._started) * 1000,
            )
        )


def _enter_console(scope: Scope) -> None:
    """The management API answers below /console/api as it does at the root."""
    rest = scope["path"].removeprefix(CONSOLE_API)
    if rest.startswith("/") and rest != scope["path"] and not rest.startswith(NOT_FOR_THE_CONSOLE):
        scope["path"] = rest
        scope["raw_path"] = scope["raw_path"].removeprefix(CONSOLE_API.encode())
        scope[CONSOLE_SCOPE] = True


def _remove_session_cookie(scope: Scope) -> None:
    """Browsers send it below /console only. Whatever sends it elsewhere, no function gets to see it."""
    if not any(name == b"cookie" and SESSION_COOKIE.encode() in value for name, value in scope["headers"]):
        return
    ours = (SESSION_COOKIE.encode(), SESSION_COOKIE_OVER_TLS.encode())
    headers: list[Header] = []
    for name, value in scope["headers"]:
        if name == b"cookie":
            value = b";".join(pair for pair in value.split(b";") if pair.partition(b"=")[0].strip() not in ours)
        headers.append((name, value))
    scope["headers"] = headers


def _is_preflight(scope: Scope) -> bool:
    """A browser asks, without credentials. Any other OPTIONS request is the function's own to answer."""
    return (
        scope["method"] == "OPTIONS"
        and scope["path"].startswith(PUBLIC)
        and any(name == b"access-control-request-method" for name, _ in scope["headers"])
    )


def _request_id(scope: Scope) -> bytes:
    """The caller's X-Request-Id if it is one, else a new one that the endpoint sees as if it had been sent."""
    given = [value for name, value in scope["headers"] if name == b"x-request-id"]
    if len(given) == 1 and REQUEST_ID.fullmatch(given[0]):
        return bytes(given[0])
    new = secrets.token_hex(16).encode()
    scope["headers"] = [*((n, v) for n, v in scope["headers"] if n != b"x-request-id"), (b"x-request-id", new)]
    return new


def _add_missing(headers: list[Header], defaults: Iterable[Header]) -> None:
    present = {name.lower() for name, _ in headers}
    headers.extend((name, value) for name, value in defaults if name not in present)


def _is_plain(value: bytes) -> bool:
    return len(value) < 2000 and all(chr(c).isalnum() or c in b"-_, " for c in value)


def _printable(path: str) -> str:
    """Nobody writes lines of their own, or spaces, into our log."""
    return "".join(c if c.isascii() and c.isprintable() and c != " " else f"\\u{ord(c):04x}" for c in path[:200])
