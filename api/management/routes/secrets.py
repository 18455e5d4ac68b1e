"""Secrets: they are set, listed and deleted. Nothing here can open them."""

from __future__ import annotations

import re
from operator import attrgetter
from typing import Annotated
from uuid import UUID

from litestar import Router, delete, get, put
from litestar.di import NamedDependency
from litestar.params import JSONBody, PathParameter

from api.auth.credentials import DEPLOY_KEYS, CallerRequest, role
from api.auth.functions import function_of
from api.database import Database
from api.http.endpoints import BEARER, FunctionId, problems
from api.http.paging import Cursor, Limit, Page, read_cursor
from api.http.problems import invalid, not_found
from api.management.models.secrets import SecretDetails, SecretToSet
from sql import secrets
from support.sealing import Sealer

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
Name = Annotated[str, PathParameter(description="Name in zmesh.env.")]


async def _list(
    database: Database, project_id: UUID, function_id: UUID | None, limit: int, cursor: str | None
) -> Page[SecretDetails]:
    after = read_cursor(cursor, str, "")
    found = await database.read(lambda c: secrets.list_secrets(c, project_id, function_id, after, limit + 1))
    return Page[SecretDetails].of(found, limit, SecretDetails.model_validate, attrgetter("name"))


async def _set(
    database: Database, sealer: Sealer, project_id: UUID, function_id: UUID | None, name: str, value: str
) -> SecretDetails:
    if not NAME.fullmatch(name):
        raise invalid("name", "must be at most 128 letters, digits and _, not starting with a digit")
    sealed = sealer.seal(value, secrets.purpose(project_id, function_id, name))
    async with database.changing(project_id) as connection:
        secret = await secrets.set_secret(connection, project_id, function_id, name, sealed)
    return SecretDetails.model_validate(secret)


async def _delete(database: Database, project_id: UUID, function_id: UUID | None, name: str) -> None:
    deleted = False
    if NAME.fullmatch(name):
        async with database.changing(project_id) as connection:
            deleted = await secrets.delete_secret(connection, project_id, function_id, name)
    if not deleted:
        raise not_found("secret", name)


@get(
    "/secrets",
    operation_id="listSecrets",
    opt={DEPLOY_KEYS: True},
    summary="List the project's secrets",
    responses=problems(422),
)
async def list_secrets(
    request: CallerRequest, database: NamedDependency[Database], limit: Limit = 50, cursor: Cursor = None
) -> Page[SecretDetails]:
    """Ordered by name. Values are never returned."""
    return await _list(database, request.user.project_id, None, limit, cursor)


@put(
    "/secrets/{name:str}",
    operation_id="setSecret",
    summary="Set a secret of the project",
    guards=[role("developer")],
    responses=problems(403, 422),
)
async def set_secret(
    request: CallerRequest,
    database: NamedDependency[Database],
    sealer: NamedDependency[Sealer],
    name: Name,
    data: JSONBody[SecretToSet],
) -> SecretDetails:
    """Every function of the project gets it in zmesh.env from its next run on."""
    return await _set(database, sealer, request.user.project_id, None, name, data.value)


@delete(
    "/secrets/{name:str}",
    operation_id="deleteSecret",
    summary="Delete a secret of the project",
    guards=[role("developer")],
    responses=problems(403, 404),
)
async def delete_secret(request: CallerRequest, database: NamedDependency[Database], name: Name) -> None:
    """Runs that have started keep it."""
    await _delete(database, request.user.project_id, None, name)


@get(
    "/functions/{id:str}/secrets",
    operation_id="listFunctionSecrets",
    opt={DEPLOY_KEYS: True},
    summary="List a function's own secrets",
    responses=problems(404, 422),
)
async def list_function_secrets(
    request: CallerRequest,
    database: NamedDependency[Database],
    id: FunctionId,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[SecretDetails]:
    """Ordered by name. Values are never returned."""
    function = await function_of(database, request, id)
    return await _list(database, function.project_id, function.id, limit, cursor)


@put(
    "/functions/{id:str}/secrets/{name:str}",
    operation_id="setFunctionSecret",
    summary="Set a secret of a function",
    guards=[role("developer")],
    responses=problems(403, 404, 422),
)
async def set_function_secret(
    request: CallerRequest,
    database: NamedDependency[Database],
    sealer: NamedDependency[Sealer],
    id: FunctionId,
    name: Name,
    data: JSONBody[SecretToSet],
) -> SecretDetails:
    """The function gets it in zmesh.env from its next run on, in place of the project's secret of this name."""
    function = await function_of(database, request, id)
    return await _set(database, sealer, function.project_id, function.id, name, data.value)


@delete(
    "/functions/{id:str}/secrets/{name:str}",
    operation_id="deleteFunctionSecret",
    summary="Delete a secret of a function",
    guards=[role("developer")],
    responses=problems(403, 404),
)
async def delete_function_secret(
    request: CallerRequest, database: NamedDependency[Database], id: FunctionId, name: Name
) -> None:
    """Runs that have started keep it."""
    function = await function_of(database, request, id)
    await _delete(database, function.project_id, function.id, name)


router = Router(
    "/",
    route_handlers=[
        list_secrets,
        set_secret,
        delete_secret,
        list_function_secrets,
        set_function_secret,
        delete_function_secret,
    ],
    guards=[role("viewer")],
    security=BEARER,
    tags=["secrets"],
)
