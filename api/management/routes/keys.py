"""API keys. Only owners manage them, because a key outlives the membership of its creator."""

from __future__ import annotations

from operator import attrgetter
from typing import Annotated
from uuid import UUID

from litestar import Router, delete, get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, PathParameter

from api.auth.credentials import CallerRequest, role
from api.database import Database
from api.http.endpoints import BEARER, problems
from api.http.paging import Cursor, Limit, Page, read_cursor
from api.http.problems import not_found
from api.management.models.projects import KeyDetails, KeyToCreate, NewKeyDetails
from sql import keys
from sql.keys import NewKey
from support.api_keys import key_hash, listed_prefix, new_api_key

Id = Annotated[UUID, PathParameter(description="Id of the key.")]
START = UUID(int=0)


async def _key(database: Database, project_id: UUID, id: UUID) -> KeyDetails:
    key = await database.read(lambda c: keys.find_key(c, project_id, id))
    if key is None:
        raise not_found("key", id)
    return KeyDetails.model_validate(key)


@get("/keys", operation_id="listKeys", summary="List API keys", responses=problems(403, 422))
async def list_keys(
    request: CallerRequest, database: NamedDependency[Database], limit: Limit = 50, cursor: Cursor = None
) -> Page[KeyDetails]:
    """Newest first, including revoked ones."""
    before, project_id = read_cursor(cursor, UUID, START), request.user.project_id
    found = await database.read(lambda c: keys.list_keys(c, project_id, None if before == START else before, limit + 1))
    return Page[KeyDetails].of(found, limit, KeyDetails.model_validate, attrgetter("id"))


@post(
    "/keys",
    operation_id="createKey",
    summary="Create an API key",
    guards=[role("owner")],
    responses=problems(403, 404, 422),
)
async def create_key(
    request: CallerRequest, database: NamedDependency[Database], data: JSONBody[KeyToCreate]
) -> NewKeyDetails:
    """The key is not shown again. For a key limited to some functions, the others do not exist."""
    key, caller = new_api_key(), request.user
    new = NewKey(
        project_id=caller.project_id,
        name=data.name,
        prefix=listed_prefix(key),
        hash=key_hash(key),
        expires_at=data.expires_at,
        functions=data.functions,
        created_by=caller.person,
        scope=data.scope,
    )
    async with database.changing(request.user.project_id) as connection:
        id = await keys.create_key(connection, new)
    known = await _key(database, caller.project_id, id)
    return NewKeyDetails(**known.model_dump(), key=key)


@get("/keys/{id:uuid}", operation_id="getKey", summary="Read an API key", responses=problems(403, 404))
async def get_key(request: CallerRequest, database: NamedDependency[Database], id: Id) -> KeyDetails:
    """Without the key itself."""
    return await _key(database, request.user.project_id, id)


@delete(
    "/keys/{id:uuid}",
    operation_id="revokeKey",
    summary="Revoke an API key",
    guards=[role("owner")],
    responses=problems(403, 404),
)
async def revoke_key(request: CallerRequest, database: NamedDependency[Database], id: Id) -> None:
    """From then on every replica refuses it. It stays in the list."""
    async with database.changing(request.user.project_id) as connection:
        if not await keys.revoke_key(connection, request.user.project_id, id):
            raise not_found("key", id)


router = Router(
    "/",
    route_handlers=[list_keys, create_key, get_key, revoke_key],
    guards=[role("developer")],
    security=BEARER,
    tags=["keys"],
)
