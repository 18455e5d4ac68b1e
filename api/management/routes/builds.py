"""Builds of packages: requested, followed, cancelled. Functions refer to them: packages.py."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from litestar import Response, Router, get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, PathParameter, QueryParameter

from api.auth.credentials import CallerRequest, role
from api.database import Database
from api.http.endpoints import BEARER, problems
from api.http.json_bodies import MIB
from api.http.paging import Cursor, Limit, Page, read_cursor
from api.http.problems import invalid, not_found
from api.management.models.builds import BuildDetails, BuildLogLine, BuildToRequest
from api.management.packages import find_manifest, key_of
from sql import builds
from sql.builds import Build

Id = Annotated[UUID, PathParameter(description="Id of the build.")]
UNFINISHED = ("queued", "running")


async def _build(database: Database, request: CallerRequest, id: UUID) -> Build:
    project_id = request.user.project_id
    build = await database.read(lambda c: builds.find_build(c, project_id, id))
    if build is None:
        raise not_found("build", id)
    return build


@post(
    "/builds",
    operation_id="requestBuild",
    summary="Install packages",
    guards=[role("developer")],
    status_code=202,
    responses=problems(403, 409, 413, 422),
)
async def request_build(
    request: CallerRequest, database: NamedDependency[Database], data: JSONBody[BuildToRequest]
) -> Response[BuildDetails]:
    """Resolves the manifest of the code to exact packages and installs them. Answers 202, or 200 if the same manifest
    was built before. Once it has succeeded, functions with this manifest can be deployed."""
    manifest = await find_manifest(data.language, data.code, data.files)
    if manifest is None:
        raise invalid("files", "asks for no packages")
    async with database.connection() as connection:
        id = await builds.request(
            connection,
            request.user.project_id,
            manifest.runtime,
            await key_of(connection, request.user.project_id, manifest),
            manifest.files,
            fresh=data.fresh,
        )
    build = await _build(database, request, id)
    return Response(BuildDetails.model_validate(build), status_code=202 if build.status in UNFINISHED else 200)


@get("/builds", operation_id="listBuilds", summary="List builds", responses=problems(422))
async def list_builds(
    request: CallerRequest, database: NamedDependency[Database], limit: Limit = 50, cursor: Cursor = None
) -> Page[BuildDetails]:
    """Newest first. A build is kept while a function or version refers to it, and for a day in any case."""
    project_id = request.user.project_id
    before = None if cursor is None else read_cursor(cursor, tuple[datetime, UUID], (datetime.max, project_id))
    found = await database.read(lambda c: builds.list_builds(c, project_id, before, limit + 1))
    return Page[BuildDetails].of(found, limit, BuildDetails.model_validate, lambda build: (build.created_at, build.id))


@get("/builds/{id:uuid}", operation_id="getBuild", summary="Read a build", responses=problems(404))
async def get_build(request: CallerRequest, database: NamedDependency[Database], id: Id) -> BuildDetails:
    """Its status, packages and lock."""
    return BuildDetails.model_validate(await _build(database, request, id))


@get(
    "/builds/{id:uuid}/logs",
    operation_id="getBuildLogs",
    summary="Read the log of a build",
    responses=problems(404, 422),
)
async def get_build_logs(
    request: CallerRequest,
    database: NamedDependency[Database],
    id: Id,
    after: Annotated[int, QueryParameter(ge=0, le=1_000_000, description="Only lines after this number.")] = 0,
    limit: Annotated[int, QueryParameter(ge=1, le=1000, description="Largest number of lines.")] = 100,
) -> list[BuildLogLine]:
    """Lines are written while the build runs."""
    build = await _build(database, request, id)
    lines = await database.read(lambda c: builds.build_logs(c, build.id, after, limit))
    return [BuildLogLine.model_validate(line) for line in lines]


@post(
    "/builds/{id:uuid}/cancel",
    operation_id="cancelBuild",
    summary="Cancel a build",
    guards=[role("developer")],
    status_code=200,
    responses=problems(403, 404),
)
async def cancel_build(request: CallerRequest, database: NamedDependency[Database], id: Id) -> BuildDetails:
    """A running build is stopped within seconds; a finished one stays as it is."""
    project_id = request.user.project_id
    async with database.connection() as connection:
        await builds.cancel(connection, project_id, id)
    return BuildDetails.model_validate(await _build(database, request, id))


router = Router(
    "/",
    route_handlers=[request_build, list_builds, get_build, get_build_logs, cancel_build],
    guards=[role("viewer")],
    security=BEARER,
    tags=["builds"],
    request_max_body_size=8 * MIB,
)
