"""Table changes that invoke functions."""

from __future__ import annotations

from typing import Annotated

from litestar import Router, delete, get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, QueryParameter

from api.auth.credentials import DEPLOY_KEYS, CallerRequest, role
from api.auth.functions import function_of
from api.database import Database
from api.http.endpoints import BEARER, problems
from api.http.paging import Page
from api.http.problems import Problem, not_found
from api.management.models.changes import ChangeDetails, ChangeToPassOn
from api.management.project_roles import ProjectRoles
from sql import catalog, changes
from sql.catalog import FunctionName
from sql.errors import NotFound


def _no_such_table(error: NotFound) -> Problem:
    return Problem(404, "table_not_found", f"{error.message}.", error.hint)


@get(
    "/changes", operation_id="listChanges", opt={DEPLOY_KEYS: True}, summary="List table changes", responses=problems()
)
async def list_changes(
    request: CallerRequest, database: NamedDependency[Database], project_roles: NamedDependency[ProjectRoles]
) -> Page[ChangeDetails]:
    """All of them, in the order of their tables."""
    project_id = request.user.project_id
    async with project_roles.connection(project_id) as connection:
        found = await changes.list_changes(connection)
    slugs = sorted({change.function for change in found})
    ids = await database.read(lambda c: catalog.ids_of_slugs(c, project_id, slugs))
    caller = request.user
    items = [
        ChangeDetails.of(change, id)
        for change, id in ((change, ids.get(change.function)) for change in found)
        if caller.functions is None or id in caller.functions
    ]
    return Page[ChangeDetails].model_construct(items=items, next_cursor=None)


@post(
    "/changes",
    operation_id="passOnChanges",
    opt={DEPLOY_KEYS: True},
    summary="Invoke a function for each changed row",
    guards=[role("developer")],
    responses=problems(403, 404, 409, 422),
)
async def pass_on_changes(
    request: CallerRequest,
    database: NamedDependency[Database],
    project_roles: NamedDependency[ProjectRoles],
    data: JSONBody[ChangeToPassOn],
) -> ChangeDetails:
    """Replaces what was there for this table and this function. It is a trigger on the table, made as its owner."""
    function = await function_of(database, request, data.function_id)
    try:
        async with project_roles.connection(function.project_id) as connection:
            made = await changes.on_change(connection, data.table, function.slug, data.events, data.when, data.columns)
    except NotFound as error:
        raise _no_such_table(error) from error
    return ChangeDetails.of(made, function.id)


@delete(
    "/changes",
    operation_id="stopChanges",
    opt={DEPLOY_KEYS: True},
    summary="Delete a table change",
    guards=[role("developer")],
    responses=problems(403, 404, 409, 422),
)
async def stop_changes(
    request: CallerRequest,
    database: NamedDependency[Database],
    project_roles: NamedDependency[ProjectRoles],
    table: Annotated[str, QueryParameter(min_length=1, max_length=200, description="The table.")],
    function_id: Annotated[str, QueryParameter(min_length=1, max_length=100, description="Its id or slug.")],
) -> None:
    """Also for a function that was deleted: then by its slug. What was invoked goes on."""
    if "\x00" in table + function_id:
        raise not_found("change")
    name = FunctionName(request.user.project_id, function_id)
    function = await database.read(lambda c: catalog.find_function(c, name))
    if request.user.functions is not None and (function is None or not request.user.may_see(function.id)):
        raise not_found("function", function_id)
    slug = function.slug if function else function_id
    try:
        async with project_roles.connection(request.user.project_id) as connection:
            ended = await changes.off_change(connection, table, slug)
    except NotFound as error:
        raise _no_such_table(error) from error
    if not ended:
        raise not_found("change", f"{table} → {slug}")


router = Router(
    "/",
    route_handlers=[list_changes, pass_on_changes, stop_changes],
    guards=[role("viewer")],
    security=BEARER,
    tags=["changes"],
)
