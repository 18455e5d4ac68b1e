"""Registries of a project: where its builds find packages. Nothing here can open their tokens."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from litestar import Router, delete, get, put
from litestar.di import NamedDependency
from litestar.params import JSONBody, PathParameter

from api.auth.credentials import CallerRequest, role
from api.database import Database
from api.http.endpoints import BEARER, problems
from api.http.paging import Cursor, Limit, Page, read_cursor
from api.http.problems import not_found
from api.management.models.registries import RegistryDetails, RegistryToSet
from sql import registries
from support.sealing import Sealer


@get("/registries", operation_id="listRegistries", summary="List the project's registries", responses=problems(422))
async def list_registries(
    request: CallerRequest, database: NamedDependency[Database], limit: Limit = 50, cursor: Cursor = None
) -> Page[RegistryDetails]:
    """Ordered by runtime and packages. Tokens are never returned."""
    after = read_cursor(cursor, str, "")
    project_id = request.user.project_id
    found = await database.read(lambda c: registries.list_registries(c, project_id, after, limit + 1))
    return Page[RegistryDetails].of(
        found, limit, RegistryDetails.model_validate, lambda one: f"{one.runtime} {one.packages}"
    )


@put(
    "/registries",
    operation_id="setRegistry",
    summary="Set the registry of some packages",
    guards=[role("owner")],
    responses=problems(403, 422),
)
async def set_registry(
    request: CallerRequest,
    database: NamedDependency[Database],
    sealer: NamedDependency[Sealer],
    data: JSONBody[RegistryToSet],
) -> RegistryDetails:
    """Builds that start from now on ask it, and no other registry, for these packages; it replaces the one that was set
    for the same packages. Functions keep the packages they have until they are built again."""
    project_id = request.user.project_id
    purpose = registries.token_purpose(project_id, data.runtime, data.packages, data.url)
    sealed = None if data.token is None else sealer.seal(data.token, purpose)
    async with database.changing(request.user.project_id) as connection:
        found = await registries.set_registry(connection, project_id, data.runtime, data.packages, data.url, sealed)
    return RegistryDetails.model_validate(found)


@delete(
    "/registries/{id:uuid}",
    operation_id="deleteRegistry",
    summary="Delete a registry of the project",
    guards=[role("owner")],
    responses=problems(403, 404),
)
async def delete_registry(
    request: CallerRequest,
    database: NamedDependency[Database],
    id: Annotated[UUID, PathParameter(description="Id of the registry.")],
) -> None:
    """Builds look its packages up in the project's other registry, or in that of the installation, from now on."""
    async with database.changing(request.user.project_id) as connection:
        deleted = await registries.delete_registry(connection, request.user.project_id, id)
    if not deleted:
        raise not_found("registry", id)


router = Router(
    "/",
    route_handlers=[list_registries, set_registry, delete_registry],
    guards=[role("viewer")],
    security=BEARER,
    tags=["registries"],
)
