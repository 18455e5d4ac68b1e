"""Running code of a function before it is deployed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from litestar import Response, Router, post
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody

from api.auth.callers import Credential
from api.auth.credentials import CallerRequest, function_disabled, role
from api.auth.functions import function_of
from api.database import Database
from api.http.endpoints import BEARER, FunctionId, problems
from api.http.json_bodies import MIB
from api.http.problems import invalid
from api.invoking.calls import Call
from api.invoking.dry_runs import require_none_of, respond_dry
from api.invoking.invoker import Invoker
from api.invoking.models import Envelope
from api.invoking.operations import InvokeDraft
from api.invoking.payloads import written_request
from api.invoking.request_headers import options_of, preference_of, traceparent_of
from api.invoking.responses import envelope_response, respond
from api.invoking.routes import FUNCTION_RESPONSES
from api.management import files
from api.management.deploying.functions import missing_code
from api.management.models.functions import DraftToRun, DraftToTest, RequestToTest
from api.management.packages import build_of
from sql import catalog, versions
from sql.catalog import Function

LARGEST_DRAFT = 32 * MIB
LATEST_START = timedelta(minutes=10)  # drafts are deleted after an hour
SETTINGS = ("timeout_ms", "memory_mb", "env_vars", "network", "dry_run")
CODE = ("language", "code", "entry_file", "entry_point", "style")


@post(
    "/functions/{id:str}/test",
    operation_id="testFunction",
    operation_class=InvokeDraft,
    summary="Run code without deploying it",
    guards=[role("developer")],
    status_code=200,
    responses={
        200: ResponseSpec(Envelope, description="The result.", generate_examples=False),
        **problems(403, 404, 409, 413, 422, 429),
        **FUNCTION_RESPONSES,
    },
    security=BEARER,
)
async def test_function(
    request: CallerRequest,
    database: NamedDependency[Database],
    invoker: NamedDependency[Invoker],
    id: FunctionId,
    data: JSONBody[DraftToTest],
) -> Response[Any]:
    """Runs the code in the sandbox as the function would run, with its settings and secrets, one attempt. Answers as
    `/invoke` does. Its version is below zero: no list of versions and no statistics include it."""
    function = await function_of(database, request, id)
    return await _run(request, database, invoker, function, data.changes())


@post(
    "/drafts",
    operation_id="runDraft",
    operation_class=InvokeDraft,
    summary="Run code of a function that may not exist yet",
    guards=[role("developer")],
    status_code=200,
    responses={
        200: ResponseSpec(Envelope, description="The result.", generate_examples=False),
        **problems(403, 409, 413, 422, 429),
        **FUNCTION_RESPONSES,
    },
    security=BEARER,
)
async def run_draft(
    request: CallerRequest,
    database: NamedDependency[Database],
    invoker: NamedDependency[Invoker],
    data: JSONBody[DraftToRun],
) -> Response[Any]:
    """Runs the code as `/functions/{id}/test` does. Where no function has the name, it runs with default settings, and
    nothing is deployed: no list, alias or trigger includes it."""
    changes = data.changes()
    name = changes.pop("name")
    project_id = request.user.project_id
    function = await database.read(lambda c: catalog.find_by_name(c, project_id, name))
    if function is None:
        if "language" not in changes:
            raise invalid("language", "is required for a new function")
        if "code" not in changes and changes.get("entry_file") not in changes.get("files", {}):
            raise missing_code(changes.get("entry_file"))
        async with database.changing(request.user.project_id) as connection:
            function = await catalog.function_for_drafts(connection, project_id, name, changes["language"])
    return await _run(request, database, invoker, function, changes)


async def _run(
    request: CallerRequest, database: Database, invoker: Invoker, function: Function, changes: dict[str, Any]
) -> Response[Any]:
    if not function.enabled:
        raise function_disabled(function.slug)
    payload, sent = await _payload_of(request, function, changes)
    dry_run = changes.get("dry_run", False)
    if dry_run:
        require_none_of(request.headers)
    settings = {name: changes.pop(name) for name in SETTINGS if name in changes}
    code = await _code(database, function, changes)
    async with database.changing(request.user.project_id) as connection:
        code["build_id"] = await build_of(connection, function.project_id, code)
        number = await catalog.save_draft(connection, function.id, {**code, "settings": settings})
    preference = preference_of(request)
    options = replace(options_of(request), version=number, alias=None, max_attempts=1, expires_at=_latest_start())
    call = Call(
        project_id=function.project_id,
        function=function.slug,
        timeout_ms=settings.get("timeout_ms", function.timeout_ms),
        payload=payload,
        request=sent,
        idempotency_scope=Credential("member", request.user.person).scope,
        traceparent=traceparent_of(request),
        preference=preference,
        options=options,
    )
    result = await invoker.invoke(call)
    if dry_run:
        return await respond_dry(database, function.project_id, result, preference)
    return await respond(envelope_response, result, preference)


async def _payload_of(request: CallerRequest, function: Function, changes: dict[str, Any]) -> tuple[str, str | None]:
    """Takes from the changes the payload, or the request to make it of: both as JSON texts. Raises Problem."""
    wanted: RequestToTest | None = changes.pop("request", None)
    if wanted is None:
        return msgspec.json.encode(changes.pop("payload", {})).decode(), None
    if "payload" in changes:
        raise invalid("request", "cannot be combined with a payload, which is made of its body")
    headers = {"host": request.headers.get("host", ""), **{name.lower(): text for name, text in wanted.headers.items()}}
    own_path = f"/api/functions/{function.slug}"
    return await written_request(
        wanted.method, wanted.path, wanted.query, headers, wanted.body.encode(), root_path=own_path
    )


def _latest_start() -> datetime:
    return datetime.now(UTC) + LATEST_START


async def _code(database: Database, function: Function, changes: dict[str, Any]) -> dict[str, Any]:
    """What a version consists of: the function's, with what is to be tried in its place. Raises Problem 422."""
    stored = await files.stored(changes, function.entry_file)
    code = {**{name: getattr(function, name) for name in CODE}, "files": files.NO_FILES, **stored}
    if "files" not in stored and code["entry_file"] is not None:
        content = await database.read(lambda c: versions.files_of(c, function.id, function.version))
        code["files"] = msgspec.Raw(content.encode())
    return code


router = Router("/", route_handlers=[test_function, run_draft], tags=["functions"], request_max_body_size=LARGEST_DRAFT)
