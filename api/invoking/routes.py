"""Invoking functions: from the dashboard, and publicly with an API key."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from litestar import Request, Response, Router, post, route
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.enums import HttpMethod
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath

from api.auth.callers import Credential, OptionNotAllowed
from api.auth.credentials import CallerRequest, api_key, function_disabled, role
from api.auth.functions import function_of
from api.auth.public_route import PublicAccess, look_up_caller, public_caller
from api.database import Database
from api.http.encodings import decompressed, decompressed_body
from api.http.endpoints import API_KEY, BEARER, FunctionId, problems
from api.http.hosts import project_of_host
from api.http.json_bodies import LARGEST_PAYLOAD
from api.http.targets import PUBLIC_SEGMENTS
from api.invoking.calls import AssumptionFailed, Call
from api.invoking.dry_runs import dry_version, require_none_of, respond_dry
from api.invoking.invoker import Invoker
from api.invoking.limits import Limits
from api.invoking.models import Envelope
from api.invoking.operations import Invoke, PublicInvoke
from api.invoking.payloads import payload_of, request_of, unparsed_reason, wrapped_of
from api.invoking.request_headers import (
    idempotency_key_of,
    options_of,
    preference_of,
    require_allowed,
    traceparent_of,
)
from api.invoking.response_headers import Site
from api.invoking.responses import envelope_response, public_response, respond

PublicRequest = Request[None, PublicAccess, State]
METHODS = [
    *(HttpMethod.GET, HttpMethod.HEAD, HttpMethod.POST, HttpMethod.PUT, HttpMethod.PATCH, HttpMethod.DELETE),
    HttpMethod.OPTIONS,
]
FUNCTION_RESPONSES = {
    202: ResponseSpec(Envelope, description="Accepted, not ended yet: poll Location.", generate_examples=False),
    500: ResponseSpec(Envelope, description="The function failed.", generate_examples=False),
    504: ResponseSpec(Envelope, description="The function timed out.", generate_examples=False),
}


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
        **FUNCTION_RESPONSES,
    },
    security=BEARER,
)
async def invoke(
    request: CallerRequest, database: NamedDependency[Database], invoker: NamedDependency[Invoker], id: FunctionId
) -> Response[Any]:
    """Waits for the end of the invocation, or answers 202 as `Prefer` says. With `dry_run`, network access is closed,
    every change of the database is rolled back, and the answer has the log and what would have changed."""
    function = await function_of(database, request, id)
    if not function.enabled:
        raise function_disabled(function.slug)
    preference = preference_of(request)
    wrapped = await wrapped_of(await decompressed_body(request))
    options = options_of(request, version_in_query=True)
    if wrapped.dry_run:
        require_none_of(request.headers)
        number = await dry_version(database, function, options)
        options = replace(options, version=number, alias=None, max_attempts=1)
    call = Call(
        project_id=function.project_id,
        function=function.slug,
        timeout_ms=function.timeout_ms,
        payload=wrapped.text,
        idempotency_key=idempotency_key_of(request),
        idempotency_scope=Credential("member", request.user.person).scope,
        traceparent=traceparent_of(request),
        preference=preference,
        options=options,
    )
    result = await invoker.invoke(call)
    if wrapped.dry_run:
        return await respond_dry(database, function.project_id, result, preference)
    return await respond(envelope_response, result, preference)


async def _invoke_publicly(request: PublicRequest, invoker: Invoker, limits: Limits, path: str) -> Response[Any]:
    await limits.admit_request(request.auth.function.project_id, api_key(request))
    if request.auth.assumed is not None:
        try:
            return await _invoke_admitted(request, invoker, path)
        except (AssumptionFailed, OptionNotAllowed):
            await look_up_caller(request)
    return await _invoke_admitted(request, invoker, path)


async def _invoke_admitted(request: PublicRequest, invoker: Invoker, path: str) -> Response[Any]:
    function, credential = request.auth.function, request.auth.credential
    require_allowed(request, credential, function)
    body, content_type = await request.body(), request.headers.get("content-type", "")
    payload = await payload_of(await decompressed(body, request.headers.get("content-encoding", "")), content_type)
    unparsed = unparsed_reason(payload, body, content_type)
    own_path = _own_path(request)
    preference = preference_of(request)
    call = Call(
        project_id=function.project_id,
        function=function.slug,
        timeout_ms=function.timeout_ms,
        payload=payload,
        request=await request_of(request, path, body, segments=PUBLIC_SEGMENTS, root_path=own_path, unparsed=unparsed),
        idempotency_key=idempotency_key_of(request),
        idempotency_scope=credential.scope,
        traceparent=traceparent_of(request),
        preference=preference,
        streams=True,
        options=options_of(request),
        assumed=request.auth.assumed,
    )
    site = Site(own_path, own=project_of_host(request) is not None)
    with_error_details = credential.sees_errors(function)
    return await respond(
        public_response, await invoker.invoke(call), preference, site, with_error_details=with_error_details
    )


def _own_path(request: PublicRequest) -> str:
    """The function's path, below which its own paths and its cookies are."""
    return f"/api/functions/{request.path_params['slug']}"


PUBLIC_RESPONSES = {
    200: ResponseSpec(
        Envelope, description="The envelope_response, or the function's own zmesh.response().", generate_examples=False
    ),
    **problems(403, 404, 405, 409, 413, 422, 429),
    **FUNCTION_RESPONSES,
}


@post(
    "/api/functions/{slug:str}",
    operation_id="invokePublicly",
    operation_class=PublicInvoke,
    summary="Invoke a function with an API key",
    guards=[public_caller],
    status_code=200,
    responses=PUBLIC_RESPONSES,
    security=API_KEY,
)
async def invoke_publicly(
    request: PublicRequest,
    invoker: NamedDependency[Invoker],
    limits: NamedDependency[Limits],
    slug: FromPath[str],
) -> Response[Any]:
    """The whole body is the payload. A function that returns zmesh.response() determines the whole response."""
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
