"""Functions. Their versions: versions.py."""

from __future__ import annotations

from operator import attrgetter
from typing import Annotated

from litestar import Response, Router, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, QueryParameter

from api.auth.credentials import DEPLOY_KEYS, CallerRequest, role
from api.auth.functions import function_of
from api.database import Database
from api.http.endpoints import BEARER, FunctionId, problems
from api.http.etags import etag_of, required_revisions, revision_conflict
from api.http.json_bodies import MIB, NUL_MESSAGE, UPLOADS
from api.http.models import raw
from api.http.operations import ConditionalChange
from api.http.paging import Cursor, Limit, Page, read_cursor
from api.http.problems import invalid
from api.management import files
from api.management.deploying.functions import missing_code
from api.management.models.functions import FunctionChange, FunctionDetails, FunctionToCreate
from api.management.packages import CODE_FIELDS, build_of, build_of_changed
from sql import catalog
from sql.catalog import Function

LARGEST_FUNCTION = 16 * MIB  # 8 MiB of files, in base64


def shown(function: Function, status: int = 200) -> Response[FunctionDetails]:
    """The function with its ETag."""
    return Response(FunctionDetails.model_validate(function), status_code=status, headers=etag_of(function))


@get(
    "/functions",
    operation_id="listFunctions",
    opt={DEPLOY_KEYS: True},
    summary="List functions",
    responses=problems(422),
)
async def list_functions(
    request: CallerRequest,
    database: NamedDependency[Database],
    limit: Limit = 50,
    cursor: Cursor = None,
    code: Annotated[bool, QueryParameter(description="false: omit the code; the text is empty.")] = True,
    tag: Annotated[str | None, QueryParameter(max_length=50, description="Only functions with this tag.")] = None,
) -> Page[FunctionDetails]:
    """All functions of the project, ordered by slug. Files are listed with paths and sizes only."""
    after = read_cursor(cursor, str, "")
    project_id = request.user.project_id
    if tag is not None and "\x00" in tag:
        raise invalid("tag", NUL_MESSAGE)
    found = await database.read(
        lambda c: catalog.list_functions(
            c, project_id, after, limit + 1, tag=tag, with_code=code, only=request.user.named_functions
        )
    )
    return Page[FunctionDetails].of(found, limit, FunctionDetails.model_validate, attrgetter("slug"))


@post(
    "/functions",
    operation_id="createFunction",
    opt={UPLOADS: True, DEPLOY_KEYS: True},
    summary="Create a function",
    guards=[role("developer")],
    responses=problems(403, 409, 413, 422),
)
async def create_function(
    request: CallerRequest, database: NamedDependency[Database], data: JSONBody[FunctionToCreate]
) -> Response[FunctionDetails]:
    """The slug is derived from the name. The code is stored as it is, without being checked. A folder is sent as
    `files` with the `entry_file` that is loaded first, in JSON or as multipart/form-data."""
    request.user.require_all_functions()
    fields = await files.stored(data.model_dump())
    if fields["code"] is None:
        raise missing_code(data.entry_file)
    async with database.changing(request.user.project_id) as connection:
        fields["build_id"] = await build_of(connection, request.user.project_id, fields)
        function = await catalog.insert_function(connection, request.user.project_id, fields, request.user.id)
    return shown(function, 201)


@get(
    "/functions/{id:str}",
    operation_id="getFunction",
    opt={DEPLOY_KEYS: True},
    summary="Read a function",
    responses=problems(404),
)
async def get_function(
    request: CallerRequest, database: NamedDependency[Database], id: FunctionId
) -> Response[FunctionDetails]:
    """Settings, current code and files. Send the ETag as If-Match with a change, so that it does not undo
    another one."""
    function = await function_of(database, request, id)
    answer = shown(function)
    if function.entry_file is not None:
        content = await database.read(lambda c: catalog.read_files(c, function.id, function.version))
        answer.content.files = raw(content)
    return answer


@patch(
    "/functions/{id:str}",
    operation_id="updateFunction",
    operation_class=ConditionalChange,
    opt={UPLOADS: True, DEPLOY_KEYS: True},
    summary="Update code, files or settings",
    guards=[role("developer")],
    responses=problems(403, 404, 409, 412, 413, 422),
)
async def update_function(
    request: CallerRequest, database: NamedDependency[Database], id: FunctionId, data: JSONBody[FunctionChange]
) -> Response[FunctionDetails]:
    """A change of code, files, entry point or language saves the previous state as a version. `files` replaces all
    files; `entry_file: null` makes the function a single file again. With If-Match, fails if the function has changed
    since it was read."""
    function = await function_of(database, request, id)
    changes, revisions = await files.stored(data.changes(), function.entry_file), required_revisions(request)
    if revisions is not None and function.revision not in revisions:
        raise revision_conflict(function)
    if changes:
        async with database.changing(request.user.project_id) as connection:
            if changes.keys() & CODE_FIELDS:
                changes["build_id"] = await build_of_changed(connection, function, changes)
            changed = await catalog.update_function(connection, function.id, changes, request.user.id, revisions)
        if changed is None:
            raise revision_conflict(await function_of(database, request, str(function.id)))
        function = changed
    return shown(function)


@delete(
    "/functions/{id:str}",
    operation_id="deleteFunction",
    operation_class=ConditionalChange,
    summary="Delete a function",
    guards=[role("developer")],
    responses=problems(403, 404, 412),
)
async def delete_function(request: CallerRequest, database: NamedDependency[Database], id: FunctionId) -> None:
    """Also deletes its versions, schedules and webhooks, and cancels its invocations."""
    function = await function_of(database, request, id)
    async with database.changing(request.user.project_id) as connection:
        deleted = await catalog.delete_function(connection, function.id, required_revisions(request))
    if not deleted:
        raise revision_conflict(await function_of(database, request, str(function.id)))


router = Router(
    "/",
    route_handlers=[
        list_functions,
        create_function,
        get_function,
        update_function,
        delete_function,
    ],
    guards=[role("viewer")],
    security=BEARER,
    tags=["functions"],
    request_max_body_size=LARGEST_FUNCTION,
)
