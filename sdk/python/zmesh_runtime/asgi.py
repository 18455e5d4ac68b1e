"""Runs one request through an ASGI application, such as FastAPI, Starlette, Litestar or Django have."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import traceback
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from zmesh_runtime import web
from zmesh_runtime.failures import Failure
from zmesh_runtime.http import END_OF_BODY, Response
from zmesh_runtime.zmesh import Zmesh

Message = dict[str, Any]
Application = Callable[[dict[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Any]
PIECE_BYTES = 64 * 1024
LARGEST_READY = 1024 * 1024
SOON_SECONDS = 0.01  # a response that is complete, with all work done, this soon after its first piece is sent whole
STARTUP_SECONDS = 1.0  # after this, the log says what the run is waiting for
SHUTDOWN_SECONDS = 5.0
VERSIONS = {"version": "3.0", "spec_version": "2.3"}


class AsgiHandler:
    """A handler that runs the application."""

    def __init__(self, application: Application) -> None:
        self._application = application

    async def __call__(self, payload: Any, zmesh: Zmesh) -> Any:
        request = web.request_of(payload, zmesh)
        exchange = Exchange(self._application, request, zmesh)
        if zmesh.request is not None:
            return await exchange.response()
        return web.result_of(request, await exchange.whole_response())


class Exchange:
    """One request to the application, and its response."""

    def __init__(self, application: Application, request: web.WebRequest, zmesh: Zmesh) -> None:
        self._application = application
        self._state: dict[str, Any] = {"zmesh": zmesh}
        self._scope = _scope_of(request, zmesh, self._state)
        self._unread = request.body
        self._request_read = False
        self._head: tuple[Any, list[tuple[str, str]]] | None = None
        self._pieces: deque[bytes] = deque()
        self._ready_bytes = 0
        self._most_ready: float = LARGEST_READY
        self._complete = False
        self._invalid: Failure | None = None
        self._changed = asyncio.Event()
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(_retrieve)

    async def response(self) -> Response:
        """The whole response if it is complete soon, otherwise a stream."""
        if await self._is_done_soon():
            return self._whole()
        self._most_ready = 0
        return self._made(self._stream())

    async def whole_response(self) -> Response:
        """The response, once all work is done."""
        self._most_ready = float("inf")
        await asyncio.wait([self._task])
        self._task.result()
        return self._whole()

    # Called by the application

    async def _receive(self) -> Message:
        if not self._request_read:
            piece, self._unread = self._unread[:PIECE_BYTES], self._unread[PIECE_BYTES:]
            self._request_read = not self._unread
            return {"type": "http.request", "body": piece, "more_body": not self._request_read}
        while not self._complete:
            await self._next_change()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        try:
            self._take(message)
        except Failure as failure:
            self._invalid = self._invalid or failure
            self._change()
            raise
        self._change()
        while self._ready_bytes > self._most_ready:
            await self._next_change()

    def _take(self, message: Message) -> None:
        match message["type"]:
            case "http.response.start" if self._head is not None:
                raise _protocol_failure("sent http.response.start twice")
            case "http.response.start":
                headers = [(_text(name), _text(value)) for name, value in message.get("headers", ())]
                web.made_response(None, message["status"], headers)
                self._head = message["status"], headers
            case "http.response.body" if self._head is None:
                raise _protocol_failure("sent http.response.body before http.response.start")
            case "http.response.body" if self._complete:
                raise _protocol_failure("sent more after the end of its response")
            case "http.response.body":
                self._complete = not message.get("more_body", False)
                if piece := bytes(message.get("body", b"")):
                    self._pieces.append(piece)
                    self._ready_bytes += len(piece)
            case other:
                raise _protocol_failure(f"sent {other!r}, which answers no HTTP request")

    # In the background

    async def _run(self) -> None:
        async with _lifespan(self._application, self._state):
            self._scope["state"] = dict(self._state)
            await self._application(self._scope, self._receive, self._send)
            self._check_complete()

    def _check_complete(self) -> None:
        if self._invalid is not None:
            raise self._invalid
        if not self._complete:
            raise _protocol_failure(
                "returned " + ("in the middle of its response" if self._head else "without a response")
            )

    async def _is_done_soon(self) -> bool:
        """Whether the response and all work are done soon after the first piece."""
        deadline = None
        loop = asyncio.get_running_loop()
        while not self._task.done() and self._invalid is None:
            if deadline is None and (self._pieces or self._complete):
                deadline = loop.time() + SOON_SECONDS
            seconds = None if deadline is None else deadline - loop.time()
            if self._ready_bytes > LARGEST_READY or not await self._change_within(seconds):
                return False
        return True

    async def _change_within(self, seconds: float | None) -> bool:
        if seconds is not None and seconds <= 0:
            return False
        change = asyncio.create_task(self._next_change())
        done, _ = await asyncio.wait([self._task, change], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        change.cancel()
        return bool(done)

    async def _next_change(self) -> None:
        await self._changed.wait()

    def _change(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _whole(self) -> Response:
        self._raise_failure()
        return self._made(b"".join(self._pieces))

    def _made(self, body: Any) -> Response:
        assert self._head is not None
        return web.made_response(body, *self._head)

    async def _stream(self) -> AsyncIterator[Any]:
        told = False
        while True:
            while self._pieces:
                piece = self._pieces.popleft()
                self._ready_bytes -= len(piece)
                self._change()
                yield piece
            if self._task.done() or self._invalid is not None:
                break
            if self._complete and not told:
                told = True
                yield END_OF_BODY
            else:
                await self._change_within(None)
        self._raise_failure()

    def _raise_failure(self) -> None:
        """Handle an error of the application. After a complete response, it is only logged."""
        if self._invalid is not None:
            raise self._invalid
        error = self._task.exception()
        if error is None:
            return
        if not self._complete:
            raise error
        text = "".join(traceback.format_exception(error))
        logging.getLogger("zmesh").error("The application failed after its response was complete.\n%s", text)


def _scope_of(request: web.WebRequest, zmesh: Zmesh, state: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": VERSIONS,
        "http_version": "1.1",
        "method": request.method,
        "scheme": request.scheme,
        "root_path": request.root_path,
        "path": request.root_path + request.path.decode("utf-8", "replace"),
        "raw_path": (request.root_path + request.raw_path).encode("latin-1", "replace"),
        "query_string": request.raw_query.encode("latin-1", "replace"),
        "headers": [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in request.headers],
        "client": None,
        "server": request.server,
        "extensions": {},
        "state": state,
        "zmesh": zmesh,
    }


@contextlib.asynccontextmanager
async def _lifespan(application: Application, state: dict[str, Any]) -> AsyncIterator[None]:
    """Startup and shutdown of an application that supports the lifespan protocol."""
    lifespan = _Lifespan(application, state)
    await lifespan.start()
    try:
        yield
    finally:
        await lifespan.stop()


class _Lifespan:
    def __init__(self, application: Application, state: dict[str, Any]) -> None:
        self._events: asyncio.Queue[str] = asyncio.Queue()
        self._started = asyncio.Event()
        self._failed: str | None = None
        self._complete = False
        scope = {"type": "lifespan", "asgi": VERSIONS, "state": state}
        self._events.put_nowait("lifespan.startup")
        self._task = asyncio.create_task(self._run(application, scope))
        self._task.add_done_callback(_retrieve)

    async def _run(self, application: Application, scope: dict[str, Any]) -> None:
        try:
            await application(scope, self._receive, self._send)
        finally:
            self._started.set()

    async def start(self) -> None:
        """Re-raise an error of the startup. Errors of applications without a lifespan are ignored."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._started.wait(), STARTUP_SECONDS)
        if not self._started.is_set():
            logging.getLogger("zmesh").warning(
                "The application has not answered lifespan.startup for %g s.", STARTUP_SECONDS
            )
            await self._started.wait()
        if self._failed is not None:
            await asyncio.wait([self._task])
            raise self._task.exception() or Failure("startup_failed", f"the application did not start: {self._failed}")

    async def stop(self) -> None:
        if not self._complete or self._task.done():
            return
        self._events.put_nowait("lifespan.shutdown")
        done, _ = await asyncio.wait([self._task], timeout=SHUTDOWN_SECONDS)
        if not done:
            logging.getLogger("zmesh").warning("The application's shutdown was given up after %g s.", SHUTDOWN_SECONDS)
        elif error := self._task.exception():
            logging.getLogger("zmesh").error("The application's shutdown failed: %s", error)

    async def _receive(self) -> Message:
        return {"type": await self._events.get()}

    async def _send(self, message: Message) -> None:
        match message["type"]:
            case "lifespan.startup.complete":
                self._complete = True
            case "lifespan.startup.failed":
                self._failed = message.get("message", "")
            case "lifespan.shutdown.complete" | "lifespan.shutdown.failed":
                return
            case other:
                raise _protocol_failure(f"sent {other!r} in its lifespan")
        self._started.set()


def _retrieve(task: asyncio.Task[None]) -> None:
    """Retrieve the exception: asyncio would log it as never retrieved."""
    if not task.cancelled():
        task.exception()


def _protocol_failure(what: str) -> Failure:
    return Failure("invalid_result", f"the ASGI application {what}")


def _text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, (bytes, bytearray)) else value
