"""Invoking functions: from the dashboard, and publicly with an API key."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from litestar import Request, Response, Router, post, route
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.enums import HttpMethod
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath

from api.auth.callers import Credential
from api.auth.credentials import api_key, function_disabled, role
from api.auth.public_route import public_caller
from api.database import Database
from api.http.encodings import inflated
from api.http.endpoints import API_KEY, BEARER, CallerRequest, FunctionId, problems
from api.http.hosts import project_of_host
from api.http.json_bodies import BYTE_ORDER_MARK, LARGEST_PAYLOAD, checked_json
from api.http.operations import Invoke, PublicInvoke
from api.http.problems import invalid
from api.http.targets import PUBLIC_SEGMENTS
from api.invoking.invoker import Call, Invoker
from api.invoking.limits import Limits
from api.invoking.models import Envelope
from api.invoking.options import options_of, require_allowed
from api.invoking.payloads import EMPTY, payload_of, request_of, traceparent_of, unparsed_reason
from api.invoking.preferences import idempotency_key_of, preference_of
from api.invoking.response_headers import Site
from api.invoking.responses import envelope, made, public_answer
from api.management.routes.functions import function_of
from sql.access import PublicFunction

PublicRequest = Request[PublicFunction, Credential, State]
METHODS = [
    *(HttpMethod.GET, HttpMethod.HEAD, HttpMethod.POST, HttpMethod.PUT, HttpMethod.PATCH, HttpMethod.DELETE),
    HttpMethod.OPTIONS,
]
FUNCTION_ANSWERS = {
    202: ResponseSpec(
        Envelope, description="Accepted and not ended yet: Location says where to look.", generate_examples=False
    ),
    500: ResponseSpec(Envelope, description="The function failed.", generate_examples=False),
    504: ResponseSpec(Envelope, description="The function ran into its timeout.", generate_examples=False),
}


class _Parts(msgspec.Struct, forbid_unknown_fields=True):
    payload: msgspec.Raw = msgspec.Raw(EMPTY.encode())


async def _payload(body: bytes) -> str:
    """The text of `payload` as it was written, so that no number changes on the way."""
    body = body.removeprefix(BYTE_ORDER_MARK)
    if not body:
        return EMPTY
    text = await checked_json(body)
    try:
        return bytes(msgspec.json.decode(text, type=_Parts).payload).decode()
    except msgspec.ValidationError as error:
        if unknown := re.search(r"unknown field `(.*)`", str(error), re.DOTALL):
            raise invalid(unknown[1], "is not known here", 'Put the arguments into "payload".') from error
        raise invalid("", 'the body has to be an object: {"payload": …}') from error


@post(
    "/functions/{id:str}/invoke",
    operation_id="invokeFunction",
    operation_class=Invoke,
    summary="Invoke a function",
    guards=[role("developer")],
    status_code=200,
    responses={
        200: ResponseSpec(Envelope, description="The function's result.", generate_examples=False),
        **problems(403, 404, 409, 413, 422, 429),
        **FUNCTION_ANSWERS,
    },
    security=BEARER,
)
async def invoke(
    request: CallerRequest, database: NamedDependency[Database], invoker: NamedDependency[Invoker], id: FunctionId
) -> Response[Any]:
    """Waits for the end of the invocation, or answers 202 as `Prefer` says."""
    function = await function_of(database, request, id)
    if not function.enabled:
        raise function_disabled(function.slug)
    preference = preference_of(request)
    call = Call(
        project_id=function.project_id,
        function=function.slug,
        timeout_ms=function.timeout_ms,
        payload=await _payload(await inflated(await request.body(), request.headers.get("content-encoding", ""))),
        idempotency_key=idempotency_key_of(request),
        idempotency_scope=Credential("member", request.user.person).scope,
        traceparent=traceparent_of(request),
        preference=preference,
        options=options_of(request, by_query=True),
    )
    return await made(envelope, await invoker.invoke(call), preference)


async def _invoke_publicly(request: PublicRequest, invoker: Invoker, limits: Limits, path: str) -> Response[Any]:
    function, credential = request.user, request.auth
    await limits.admit_request(function.project_id, api_key(request))
    require_allowed(request, credential, function)
    body, content_type = await request.body(), request.headers.get("content-type", "")
    payload = await payload_of(await inflated(body, request.headers.get("content-encoding", "")), content_type)
    unparsed = unparsed_reason(payload, body, content_type)
    preference = preference_of(request)
    call = Call(
        project_id=function.project_id,
        function=function.slug,
        timeout_ms=function.timeout_ms,
        payload=payload,
        request=await request_of(request, path, body, segments=PUBLIC_SEGMENTS, unparsed=unparsed),
        idempotency_key=idempotency_key_of(request),
        idempotency_scope=credential.scope,
        traceparent=traceparent_of(request),
        preference=preference,
        streams=True,
        options=options_of(request),
    )
    site = Site(_own_path(request), own=project_of_host(request) is not None)
    with_error = credential.sees_errors(function)
    return await made(public_answer, await invoker.invoke(call), preference, site, with_error=with_error)


def _own_path(request: PublicRequest) -> str:
    """The function's path as the client wrote it, below which its cookies stay."""
    return f"/api/functions/{request.path_params['slug']}"


PUBLIC_ANSWERS = {
    200: ResponseSpec(
        Envelope, description="The envelope, or the function's own zmesh.response().", generate_examples=False
    ),
    **problems(403, 404, 405, 409, 413, 422, 429),
    **FUNCTION_ANSWERS,
}


@post(
    "/api/functions/{slug:str}",
    operation_id="invokePublicly",
    operation_class=PublicInvoke,
    summary="Invoke a function with an API key",
    guards=[public_caller],
    status_code=200,
    responses=PUBLIC_ANSWERS,
    security=API_KEY,
)
async def invoke_publicly(
    request: PublicRequest,
    invoker: NamedDependency[Invoker],
    limits: NamedDependency[Limits],
    slug: FromPath[str],
) -> Response[Any]:
    """The whole body is the payload. A function that returns zmesh.response() answers by itself."""
    return await _invoke_publicly(request, invoker, limits, "/")


@route(
    "/api/functions/{slug:str}",
    http_method=[method for method in METHODS if method is not HttpMethod.POST],
    guards=[public_caller],
    status_code=200,
    include_in_schema=False,
)
async def invoke_by_other_methods(
    request: PublicRequest,
    invoker: NamedDependency[Invoker],
    limits: NamedDependency[Limits],
    slug: FromPath[str],
) -> Response[Any]:
    """The method reaches the function in zmesh.request."""
    return await _invoke_publicly(request, invoker, limits, "/")


@route(
    "/api/functions/{slug:str}/{rest:path}",
    http_method=METHODS,
    guards=[public_caller],
    status_code=200,
    include_in_schema=False,
)
async def invoke_below(
    request: PublicRequest,
    invoker: NamedDependency[Invoker],
    limits: NamedDependency[Limits],
    slug: FromPath[str],
    rest: FromPath[str],
) -> Response[Any]:
    """The rest of the path reaches the function in zmesh.request."""
    return await _invoke_publicly(request, invoker, limits, rest)


router = Router(
    "/",
    # By other methods first: else Litestar answers OPTIONS by itself.
    route_handlers=[invoke, invoke_by_other_methods, invoke_publicly, invoke_below],
    tags=["invoking"],
    request_max_body_size=LARGEST_PAYLOAD,
)
