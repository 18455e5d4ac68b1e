"""/mcp: the Model Context Protocol over HTTP. Requests are checked here; what serves them is given to the API."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote
from uuid import UUID

from api.auth.credentials import Access
from api.http.hosts import is_origin_of
from api.http.json_bodies import check_agents_message
from api.http.middleware import App, Receive, Scope, Send, header_of, send_problem
from api.http.problems import Problem, busy, too_large, unauthorized
from support.api_keys import is_api_key

PATH = "/mcp"
MOST_CALLS = 16  # at once: each may hold a thread for as long as a run takes
LARGEST_BODY = 1024 * 1024
MOST_CALLS_OF_PROJECT = 8
MOST_CALLS_OF_CALLER = 4


@dataclass(frozen=True, slots=True)
class Answer:
    """What an endpoint of the API answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes


Ask = Callable[[str, str, Mapping[str, str], bytes], Awaitable[Answer]]
Serve = Callable[[Scope, Receive, Send, str, Ask], Awaitable[None]]


class Agents:
    """An ASGI layer around the API that answers /mcp.

    A caller shows the header Authorization, and nothing else counts: a page in a browser has no cookie that would do.
    What serves the protocol asks the API on the caller's behalf, as if the caller had sent each request.
    """

    def __init__(self, app: App, around: App, access: Access, load: Callable[[], Serve]) -> None:
        """`around` is the API with what belongs around it, where tools send their requests; `load` takes seconds and
        is called in a thread, when the first caller was let in."""
        self._app = app
        self._around = around
        self._access = access
        self._load = load
        self._loading: asyncio.Task[Serve] | None = None
        self._running: Counter[tuple[UUID, str]] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != PATH:
            await self._app(scope, receive, send)
            return
        scope["path_template"] = PATH
        try:
            _check(scope)
            token, project_id = await self._authenticated(scope)
            body = await _body(receive)
            await check_agents_message(body)
            with self._place(token, project_id):
                serve = await self._loaded()
                await serve(scope, _again(body, receive), send, token, self._asking(scope))
        except Problem as problem:
            await send_problem(problem, send)

    async def _authenticated(self, scope: Scope) -> tuple[str, UUID]:
        """The caller's credentials and project. Raises Problem."""
        scheme, _, token = header_of(scope, b"authorization").partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            raise unauthorized(
                "missing_credentials",
                "This endpoint requires a token or an API key.",
                "Send the header Authorization: Bearer <token or API key>.",
            )
        if is_api_key(token):
            return token, await self._access.any_program(token, scope["client"][0] if scope.get("client") else "")
        return token, (await self._access.person(token)).project_id

    @contextmanager
    def _place(self, token: str, project_id: UUID) -> Iterator[None]:
        """A place for a call. Raises Problem where there is none."""
        if self._running.total() >= MOST_CALLS:
            raise busy(f"{MOST_CALLS} calls of agents are running in this process.")
        if self._running[project_id, token] >= MOST_CALLS_OF_CALLER:
            raise _too_many(f"{MOST_CALLS_OF_CALLER} calls with these credentials are running.")
        # One person can have many tokens and keys of a project.
        if sum(count for (id, _), count in self._running.items() if id == project_id) >= MOST_CALLS_OF_PROJECT:
            raise _too_many(f"{MOST_CALLS_OF_PROJECT} calls of agents in this project are running.")
        self._running[project_id, token] += 1
        try:
            yield
        finally:
            self._running[project_id, token] -= 1
            if not self._running[project_id, token]:
                del self._running[project_id, token]

    async def _loaded(self) -> Serve:
        if self._loading is None or (self._loading.done() and self._loading.exception()):
            self._loading = asyncio.create_task(asyncio.to_thread(self._load))
        return await asyncio.shield(self._loading)

    def _asking(self, scope: Scope) -> Ask:
        async def ask(method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
            return await _ask(self._around, _inner(scope, method, target, headers, body), body)

        return ask


def _too_many(detail: str) -> Problem:
    hint = "Wait until one of them has ended."
    return Problem(429, "too_many_agent_calls", detail, hint, headers={"Retry-After": "1"})


def _check(scope: Scope) -> None:
    """Raises Problem for another method, and for a page of another origin."""
    if scope["method"] != "POST":
        detail = "Only POST is supported: this server has no streams or sessions."
        raise Problem(405, "method_not_allowed", detail, headers={"Allow": "POST"})
    origin = header_of(scope, b"origin")
    if origin and not is_origin_of(origin, header_of(scope, b"host")):
        raise Problem(403, "origin_not_allowed", f"Requests from pages of {origin} are not allowed.")


async def _body(receive: Receive) -> bytes:
    """Receive the whole body before the call takes a place, since it may arrive slowly. Raises Problem 413."""
    parts, size, more = list[bytes](), 0, True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        more = message.get("more_body", False)
        if size > LARGEST_BODY:
            raise too_large("message", LARGEST_BODY)
    return b"".join(parts)


def _again(body: bytes, receive: Receive) -> Receive:
    """A `receive` that returns a body that was received already, and then whatever follows."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Any:
        return messages.pop() if messages else await receive()

    return receive_again


def _inner(scope: Scope, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Scope:
    """The scope of a request to the API, as the caller's own would be."""
    path, _, query = target.partition("?")
    ours = {**headers, "host": header_of(scope, b"host"), "x-request-id": header_of(scope, b"x-request-id")}
    ours["content-length"] = str(len(body))
    return {
        **{key: scope[key] for key in ("type", "asgi", "http_version", "scheme", "client", "server")},
        "method": method,
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in ours.items()],
        "state": dict(scope.get("state", {})),
    }


async def _ask(app: App, scope: Scope, body: bytes) -> Answer:
    nothing_follows: Receive = asyncio.get_running_loop().create_future
    status, headers, parts = 0, dict[str, str](), list[bytes]()

    async def send(message: Any) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
            headers.update((name.decode().lower(), value.decode("latin-1")) for name, value in message["headers"])
        else:
            parts.append(message.get("body", b""))

    await app(scope, _again(body, nothing_follows), send)
    return Answer(status, headers, b"".join(parts))
