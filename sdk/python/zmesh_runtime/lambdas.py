"""Handlers of AWS Lambda, handler(event, context). HTTP requests are events of API Gateway's payload format 2.0."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from zmesh_runtime import web
from zmesh_runtime.failures import Failure
from zmesh_runtime.http import Request, Response
from zmesh_runtime.results import NotJson, to_json_bytes
from zmesh_runtime.zmesh import Invocation, Zmesh

_TEXT = re.compile(r"text/.*|.*[/+](json|xml|javascript|x-www-form-urlencoded)")
_MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
MIB = 1024 * 1024


class LambdaHandler:
    """A handler that calls handler(event, context)."""

    def __init__(self, handler: Callable[[Any, Any], Any], limits: Mapping[str, int]) -> None:
        self._handler = handler
        self._limits = limits

    def __call__(self, payload: Any, zmesh: Zmesh) -> Any:
        context = LambdaContext(zmesh, self._limits)
        if zmesh.request is None:
            return self._handler(payload, context)
        result = self._handler(_event_of(zmesh.request, zmesh.invocation), context)
        return _awaited_response(result) if hasattr(result, "__await__") else _response_of(result)


class LambdaContext:
    """Lambda's context object; `zmesh` is the zmesh object."""

    def __init__(self, zmesh: Zmesh, limits: Mapping[str, int]) -> None:
        name, id = zmesh.invocation.function, zmesh.invocation.id or ""
        self.function_name = name
        self.function_version = str(zmesh.invocation.version or "$LATEST")
        self.invoked_function_arn = f"arn:zmesh:lambda:local:000000000000:function:{name}"
        self.memory_limit_in_mb = limits["memory_bytes"] // MIB
        self.aws_request_id = id
        self.log_group_name = f"/zmesh/{name}"
        self.log_stream_name = id
        self.identity = None
        self.client_context = None
        self.zmesh = zmesh
        self._end = time.monotonic() + limits["timeout_ms"] / 1000

    def get_remaining_time_in_millis(self) -> int:
        """The time that this run has left."""
        return max(0, round((self._end - time.monotonic()) * 1000))


async def _awaited_response(result: Any) -> Response:
    return _response_of(await result)


def _event_of(request: Request, invocation: Invocation) -> dict[str, Any]:
    headers = dict(request.headers)
    cookies = headers.pop("cookie", None)
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": request.raw_path or "/",
        "rawQueryString": request.raw_query,
        "headers": headers,
        "requestContext": _request_context_of(request, invocation),
        **_body_of(request),
    }
    if cookies:
        event["cookies"] = re.split(r";\s*", cookies)
    if request.query_all:
        event["queryStringParameters"] = {name: ",".join(values) for name, values in request.query_all.items()}
    return event


def _request_context_of(request: Request, invocation: Invocation) -> dict[str, Any]:
    host = request.headers.get("host", "localhost")
    now = time.time()
    return {
        "accountId": "anonymous",
        "apiId": invocation.function,
        "domainName": host,
        "domainPrefix": host.partition(".")[0],
        "http": {
            "method": request.method,
            "path": request.raw_path or "/",
            "protocol": "HTTP/1.1",
            # the address added by the nearest proxy
            "sourceIp": request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip(),
            "userAgent": request.headers.get("user-agent", ""),
        },
        "requestId": invocation.id or "",
        "routeKey": "$default",
        "stage": "$default",
        "time": _common_log_time(now),
        "timeEpoch": int(now * 1000),
    }


def _common_log_time(now: float) -> str:
    """Such as "12/Mar/2020:19:03:58 +0000", in any locale."""
    utc = time.gmtime(now)
    return f"{utc.tm_mday:02}/{_MONTHS[utc.tm_mon - 1]}/{time.strftime('%Y:%H:%M:%S', utc)} +0000"


def _body_of(request: Request) -> dict[str, Any]:
    if not request.body:
        return {"isBase64Encoded": False}
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if "content-encoding" not in request.headers and _TEXT.fullmatch(kind):
        try:
            return {"body": request.body.decode(), "isBase64Encoded": False}
        except UnicodeDecodeError:
            pass  # in another charset
    return {"body": base64.b64encode(request.body).decode(), "isBase64Encoded": True}


def _response_of(result: Any) -> Response:
    """The response that API Gateway makes of a result: JSON with status 200 unless it has a statusCode."""
    if isinstance(result, Response):
        return result
    if isinstance(result, Mapping) and "statusCode" in result:
        return _stated_response(result)
    try:
        body = result.encode() if isinstance(result, str) else to_json_bytes(result)
    except NotJson as error:
        raise Failure("invalid_result", f"the result is not JSON: {error}") from None
    return Response(body, headers={"content-type": "application/json"})


def _stated_response(result: Mapping[str, Any]) -> Response:
    body = result.get("body") or ""
    if not isinstance(body, str):
        message = f"body must be text (got {type(body).__name__}): use json.dumps(body), or base64 with isBase64Encoded"
        raise Failure("invalid_result", message)
    merged = {**(result.get("headers") or {}), **(result.get("multiValueHeaders") or {})}
    lines = [*merged.items(), *(("set-cookie", cookie) for cookie in result.get("cookies") or [])]
    try:
        content = (base64.b64decode(body) if result.get("isBase64Encoded") else body) or None
    except ValueError as error:
        raise Failure("invalid_result", f"body is not base64, but isBase64Encoded is true: {error}") from None
    status = result["statusCode"]
    return web.made_response(content, int(status) if str(status).isdecimal() else status, lines)
