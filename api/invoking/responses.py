"""From how an invocation ended to an HTTP response."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Concatenate, ParamSpec

import msgspec
from litestar import Request, Response
from litestar.response.base import ASGIResponse
from litestar.types import Receive, Scope, Send

from api.http.json_bodies import PARSING, SMALL
from api.http.models import raw
from api.http.problems import Problem
from api.invoking.calls import CallResult
from api.invoking.request_headers import Preference
from api.invoking.response_headers import Site, sent_headers
from api.invoking.streams import BrokenStream, ResponseStream
from observing.events import ResponseCutOff
from observing.stream import emit
from sql.errors import DomainError
from sql.invocations import InvocationState

Arguments = ParamSpec("Arguments")
STATUS_CODES = {"success": 200, "error": 500, "timeout": 504, "cancelled": 409, "queued": 202, "running": 202}
CLIENT_PATIENCE_SECONDS = 30.0
WITHOUT_BODY = (204, 304)
ID_HEADER = "X-Zmesh-Invocation-Id"


class RawResponse(Response[bytes]):
    """A response whose headers may repeat, as Set-Cookie does. `length` is the function's Content-Length, which a
    response to HEAD without a body keeps."""

    def __init__(self, body: bytes, status: int, headers: list[tuple[str, str]], length: str | None = None) -> None:
        super().__init__(body, status_code=status)
        self._lines = headers
        self._length = str(len(body)) if body else length

    def to_asgi_response(self, app: Any, request: Request[Any, Any, Any], **_: Any) -> ASGIResponse:
        if request.method == "HEAD":
            length = [("content-length", self._length)] if self._length else []
            return ASGIResponse(status_code=self.status_code, headers=[*self._lines, *length], is_head_response=True)
        answer = ASGIResponse(
            body=self.content,
            status_code=self.status_code,
            headers=self._lines,
            media_type="application/octet-stream",  # where no header says what it is
        )
        if not self.content and not any(name == "content-type" for name, _ in self._lines):
            del answer.headers["content-type"]
        return answer


class FunctionResponse(msgspec.Struct):
    """A response of zmesh.response(); `kept` is false if it was streamed and is too large to store."""

    status: int
    headers: dict[str, Any] = msgspec.field(default_factory=dict)
    body_base64: str | None = None
    kept: bool = True


Responder = Callable[Concatenate[CallResult, Preference, Arguments], Response[bytes]]


async def respond(
    responder: Responder[Arguments],
    result: CallResult,
    preference: Preference,
    *arguments: Arguments.args,
    **options: Arguments.kwargs,
) -> Response[bytes]:
    """The response as an envelope or for the public route; a large result is handled in a thread."""
    size = len(result.state.result or "") + len(result.state.response or "")
    if result.streaming is not None or size <= SMALL:
        return responder(result, preference, *arguments, **options)
    return await PARSING.run(responder, result, preference, *arguments, **options)


def envelope_response(
    result: CallResult,
    preference: Preference,
    *,
    with_error_details: bool = True,
    more: Mapping[str, Any] = MappingProxyType({}),
) -> Response[bytes]:
    """The envelope and `more`, with the status code of its status; 202 and Location while it has not ended.

    `with_error_details` false: the caller gets no detail of an error.
    """
    answer = result.state
    body = {
        "status": answer.status,
        "result": raw(answer.result),
        "error": raw(answer.error) if with_error_details or answer.error is None else _error_without_details(answer),
        "duration_ms": answer.duration_ms,
        "invocation_id": str(answer.id),
        "version": answer.version,
        **more,
    }
    if answer.response is not None:
        body["response"] = raw(answer.response)
        body["result"] = _result_of(answer.response)
    return Response(
        msgspec.json.encode(body),
        status_code=STATUS_CODES[answer.status],
        media_type="application/json",
        headers=_headers(result, preference),
    )


def _error_without_details(answer: InvocationState) -> dict[str, Any]:
    return {
        "type": answer.status,
        "message": f"The function failed. Quote invocation {answer.id} to its owner.",
        "stack": None,
    }


def public_response(
    result: CallResult, preference: Preference, site: Site, *, with_error_details: bool = True
) -> Response[bytes]:
    """The function's own response if it made one, else the envelope."""
    answer = result.state
    if result.streaming is not None:
        return _streamed(result, result.streaming, preference, site)
    if answer.status == "success" and answer.response is not None:
        return _own_response(answer, _headers(result, preference), site)
    return envelope_response(result, preference, with_error_details=with_error_details)


def _headers(result: CallResult, preference: Preference) -> dict[str, str]:
    answer = result.state
    headers = {ID_HEADER: str(answer.id)}
    if answer.final and (timing := _server_timing(answer)):
        headers["Server-Timing"] = timing
    if not answer.final:
        headers["Location"] = f"/invocations/{answer.id}"
        headers["Retry-After"] = "1"
    if preference.wait is not None:
        headers["Preference-Applied"] = f"wait={preference.wait}"
    elif preference.respond_async:
        headers["Preference-Applied"] = "respond-async"
    if result.replayed:
        headers["Idempotent-Replayed"] = "true"
    return headers


def _server_timing(answer: InvocationState) -> str:
    phases = {"queue": answer.queue_ms, "start": answer.start_ms, "run": answer.duration_ms}
    return ", ".join(f"{name};dur={value:g}" for name, value in phases.items() if value is not None)


def _decoded(response: str) -> tuple[FunctionResponse, bytes]:
    try:
        decoded = msgspec.json.decode(response, type=FunctionResponse)
        body = base64.b64decode(decoded.body_base64 or "", validate=True)
    except (msgspec.DecodeError, binascii.Error, ValueError) as error:
        raise Problem(502, "invalid_response", "The function's zmesh.response() is malformed.") from error
    if not 200 <= decoded.status <= 599:
        raise Problem(502, "invalid_response", f"The function returned the invalid status {decoded.status}.")
    return decoded, body


def _own_response(answer: InvocationState, ours: dict[str, str], site: Site) -> Response[bytes]:
    assert answer.response is not None
    decoded, body = _decoded(answer.response)
    if not decoded.kept:
        raise Problem(
            410, "response_not_kept", "The response was streamed to its first caller and is too large to store."
        )
    headers = [*sent_headers(decoded.headers, site), *ours.items()]
    if decoded.status in WITHOUT_BODY:
        return RawResponse(b"", decoded.status, headers)
    return RawResponse(body, decoded.status, headers, _stated_length(decoded.headers))


def _stated_length(headers: Mapping[str, Any]) -> str | None:
    value = next((str(value) for name, value in headers.items() if name.lower() == "content-length"), "")
    return value if re.fullmatch(r"\d{1,18}", value, re.ASCII) else None


def _streamed(result: CallResult, streaming: ResponseStream, preference: Preference, site: Site) -> Response[bytes]:
    try:
        head, _ = _decoded(streaming.head)
    except Problem:
        streaming.close()
        raise
    headers = _headers(result, preference)
    for name in ("Location", "Retry-After"):
        headers.pop(name, None)
    lines = [*sent_headers(head.headers, site), *headers.items()]
    return StreamedResponse(streaming, head.status, lines)


def _result_of(response: str) -> Any:
    """The body of a function's response as the result of an envelope: JSON, text, or null."""
    decoded, body = _decoded(response)
    content_type = next((str(v) for k, v in decoded.headers.items() if k.lower() == "content-type"), "").lower()
    try:
        if "json" in content_type:
            msgspec.json.decode(body)
            return msgspec.Raw(body)
        return body.decode() if content_type.startswith("text/") else None
    except (ValueError, RecursionError):
        return None


class StreamedResponse(Response[bytes]):
    """A streamed response. If it breaks off, the client does not get the end of a chunked body, and notices."""

    def __init__(self, streaming: ResponseStream, status: int, headers: list[tuple[str, str]]) -> None:
        super().__init__(b"", status_code=status)
        self._status = status
        self._streaming = streaming
        self._lines = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]

    def to_asgi_response(self, *_: Any, **__: Any) -> Any:
        return self._answer

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the end, or until the client disconnects."""
        sending = asyncio.create_task(self._send(scope, send))
        gone = asyncio.create_task(_disconnected(receive))
        try:
            await asyncio.wait([sending, gone], return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                await sending
        except (BrokenStream, DomainError, TimeoutError) as error:
            emit(ResponseCutOff(self._streaming.id, str(error) or "the client stopped reading"))
        finally:
            sending.cancel()
            gone.cancel()
            self._streaming.close()

    async def _send(self, scope: Scope, send: Send) -> None:
        await send({"type": "http.response.start", "status": self._status, "headers": self._lines})
        if scope.get("method") != "HEAD" and self._status not in WITHOUT_BODY:
            async for piece in self._streaming.pieces():
                async with asyncio.timeout(CLIENT_PATIENCE_SECONDS):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
