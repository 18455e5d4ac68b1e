"""Functions and their versions."""

from __future__ import annotations

from typing import Annotated

from litestar import Router, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, PathParameter, QueryParameter

from api.auth import role
from api.database import Database
from api.json_bodies import MIB
from api.models.base import Page, page_cursor, read_cursor
from api.models.functions import FunctionChange, FunctionDetails, FunctionToCreate, FunctionVersion
from api.problems import not_found
from api.routes.common import BEARER, CallerRequest, Cursor, FunctionId, Limit, problems
from sql import catalog
from sql.catalog import Function, FunctionName
from sql.errors import NotFound

NEWEST = 2**31 - 1


async def function_of(database: Database, request: CallerRequest, id: str) -> Function:
    """The function that a URL names. Raises Problem 404."""
    name = FunctionName(request.user.project_id, id)
    function = None if "\x00" in id else await database.read(lambda c: catalog.find_function(c, name))
    if function is None:
        raise not_found("function", id)
    return function


@get("/functions", operation_id="listFunctions", summary="List functions", responses=problems(422))
async def list_functions(
    request: CallerRequest,
    database: NamedDependency[Database],
    limit: Limit = 50,
    cursor: Cursor = None,
    code: Annotated[bool, QueryParameter(description="false: leave the code out, as an empty text.")] = True,
) -> Page[FunctionDetails]:
    """All functions of the project in the order of their slugs."""
    after = read_cursor(cursor, str, "")
    project_id = request.user.project_id
    found = await database.read(lambda c: catalog.list_functions(c, project_id, after, limit + 1, with_code=code))
    items = [FunctionDetails.model_validate(function) for function in found[:limit]]
    return Page[FunctionDetails](items=items, next_cursor=page_cursor(items[-1].slug) if len(found) > limit else None)


@post(
    "/functions",
    operation_id="createFunction",
    summary="Create a function",
    guards=[role("developer")],
    responses=problems(403, 409, 413, 422),
)
async def create_function(
    request: CallerRequest, database: NamedDependency[Database], data: JSONBody[FunctionToCreate]
) -> FunctionDetails:
    """The slug is derived from the name. The code is kept as it is; whether it runs shows when it is invoked."""
    async with database.checked() as connection:
        function = await catalog.insert_function(connection, request.user.project_id, data.model_dump())
    return FunctionDetails.model_validate(function)


@get("/functions/{id:str}", operation_id="getFunction", summary="Read a function", responses=problems(404))
async def get_function(request: CallerRequest, database: NamedDependency[Database], id: FunctionId) -> FunctionDetails:
    """Configuration and current code."""
    return FunctionDetails.model_validate(await function_of(database, request, id))


@patch(
    "/functions/{id:str}",
    operation_id="updateFunction",
    summary="Update code or configuration",
    guards=[role("developer")],
    responses=problems(403, 404, 409, 413, 422),
)
async def update_function(
    request: CallerRequest, database: NamedDependency[Database], id: FunctionId, data: JSONBody[FunctionChange]
) -> FunctionDetails:
    """A change of code, entry point or language saves the state before it as a version."""
    function = await function_of(database, request, id)
    changes = data.changes()
    if changes:
        name = FunctionName(function.project_id, str(function.id))
        async with database.checked() as connection:
            changed = await catalog.update_function(connection, name, changes)
        if changed is None:
            raise not_found("function", id)
        function = changed
    return FunctionDetails.model_validate(function)


@delete(
    "/functions/{id:str}",
    operation_id="deleteFunction",
    summary="Delete a function",
    guards=[role("developer")],
    responses=problems(403, 404),
)
async def delete_function(request: CallerRequest, database: NamedDependency[Database], id: FunctionId) -> None:
    """Deletes the versions, schedules and webhooks as well; what is queued or runs is cancelled."""
    function = await function_of(database, request, id)
    async with database.checked() as connection:
        if not await catalog.delete_function(connection, FunctionName(function.project_id, str(function.id))):
            raise not_found("function", id)


@get(
    "/functions/{id:str}/versions",
    operation_id="listVersions",
    summary="List versions",
    responses=problems(404, 422),
)
async def list_versions(
    request: CallerRequest,
    database: NamedDependency[Database],
    id: FunctionId,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[FunctionVersion]:
    """The current version and every saved one, newest first."""
    function = await function_of(database, request, id)
    before = read_cursor(cursor, int, NEWEST)
    found = await database.read(lambda c: catalog.list_versions(c, function.id, min(before, NEWEST), limit + 1))
    items = [FunctionVersion.model_validate(version, from_attributes=True) for version in found[:limit]]
    return Page[FunctionVersion](
        items=items, next_cursor=page_cursor(items[-1].version) if len(found) > limit else None
    )


@post(
    "/functions/{id:str}/versions/{version:int}/rollback",
    operation_id="rollbackFunction",
    summary="Roll back to a version",
    guards=[role("developer")],
    status_code=200,
    responses=problems(403, 404, 409),
)
async def rollback(
    request: CallerRequest,
    database: NamedDependency[Database],
    id: FunctionId,
    version: Annotated[int, PathParameter(description="A saved version.")],
) -> FunctionDetails:
    """Saves the current state as a version, then restores the older one: a rollback can be rolled back."""
    function = await function_of(database, request, id)
    if not 0 < version <= NEWEST:
        raise not_found("version", version)
    try:
        async with database.checked() as connection:
            return FunctionDetails.model_validate(await catalog.rollback(connection, function.id, version))
    except NotFound as error:
        raise not_found("version", version) from error


router = Router(
    "/",
    route_handlers=[
        list_functions,
        create_function,
        get_function,
        update_function,
        delete_function,
        list_versions,
        rollback,
    ],
    guards=[role("viewer")],
    security=BEARER,
    tags=["functions"],
    request_max_body_size=8 * MIB,
)
