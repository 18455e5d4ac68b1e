"""Builds of packages: requested, followed, cancelled. Functions refer to them: packages.py."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated
from uuid import UUID

from litestar import Response, Router, get, post, put
from litestar.di import NamedDependency
from litestar.params import JSONBody, PathParameter, QueryParameter
from psycopg import AsyncConnection

from api.auth.credentials import DEPLOY_KEYS, CallerRequest, role
from api.database import Database
from api.http.endpoints import BEARER, problems
from api.http.json_bodies import MIB
from api.http.paging import Cursor, Limit, Page, read_cursor
from api.http.problems import Problem, invalid, not_found
from api.management.models.builds import BuildDetails, BuildLogLine, BuildSummary, BuildToRequest, Bundle, BundleChunk
from api.management.packages import find_locked, find_manifest, key_of
from sql import builds
from sql.builds import Build

Id = Annotated[UUID, PathParameter(description="Id of the build.")]
MOST_CHUNKS = 512
LARGEST_CHUNK = 1114112
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
    opt={DEPLOY_KEYS: True},
    summary="Install packages",
    guards=[role("developer")],
    status_code=202,
    responses=problems(403, 409, 413, 422, 429),
)
async def request_build(
    request: CallerRequest, database: NamedDependency[Database], data: JSONBody[BuildToRequest]
) -> Response[BuildDetails]:
    """Resolves the manifest of the code to exact packages and installs them. Answers 202, or 200 if the same manifest
    was built before. Once it has succeeded, functions with this manifest can be deployed."""
    if data.bundle is not None or data.lock is not None:  # other functions with this manifest get it too
        request.user.require_all_functions()
    manifest = await find_manifest(request.user.project_id, data.language, data.code, data.files)
    if manifest is None:
        raise invalid("files", "asks for no packages")
    async with database.changing(request.user.project_id) as connection:
        if data.bundle is not None:
            await _check_uploaded(connection, request.user.project_id, data.bundle)
        key = await key_of(connection, request.user.project_id, manifest)
        files, fresh = manifest.files, data.fresh
        if data.lock is not None:
            locked = await find_locked(
                request.user.project_id, manifest, data.language, data.code, data.files, data.lock
            )
            files = locked.files
            fresh = fresh or not await _installed(connection, request.user.project_id, key, data.lock, files)
        id = await builds.request(
            connection,
            request.user.project_id,
            manifest.runtime,
            key,
            files,
            fresh=fresh,
            bundle=None if data.bundle is None else data.bundle.hash,
        )
    build = await _build(database, request, id)
    return Response(BuildDetails.model_validate(build), status_code=202 if build.status in UNFINISHED else 200)


async def _installed(
    connection: AsyncConnection, project_id: UUID, key: str, lock: str, files: Mapping[str, str]
) -> bool:
    """Whether functions with this manifest already get what the lock names."""
    last = await builds.last_success(connection, project_id, key)
    build = None if last is None else await builds.find_build(connection, project_id, last)
    return build is not None and (build.lock == lock or build.manifest == files)


async def _check_uploaded(connection: AsyncConnection, project_id: UUID, bundle: Bundle) -> None:
    uploaded = await builds.bundle_chunks(connection, project_id, bundle.hash)
    if uploaded != bundle.chunks:
        raise Problem(
            409,
            "bundle_incomplete",
            f"{uploaded} of {bundle.chunks} chunks of the bundle are uploaded.",
            "Upload all of them with PUT /bundles/{hash}/chunks/{number} first; they are kept for a day.",
        )


@put(
    "/bundles/{hash:str}/chunks/{number:int}",
    operation_id="uploadBundleChunk",
    opt={DEPLOY_KEYS: True},
    summary="Upload a chunk of installed packages",
    guards=[role("developer")],
    status_code=204,
    responses=problems(403, 404, 422),
)
async def upload_bundle_chunk(
    request: CallerRequest,
    database: NamedDependency[Database],
    hash: Annotated[str, PathParameter(description="SHA-256 of the whole archive.")],
    number: Annotated[int, PathParameter(description="Number of the chunk, from 0.")],
    data: JSONBody[BundleChunk],
) -> None:
    """As `zmesh functions deploy --bundle` does. Chunks are kept for a day; POST /builds names the bundle."""
    request.user.require_all_functions()
    if not re.fullmatch(r"[0-9a-f]{64}", hash):
        raise invalid("hash", "must be a SHA-256 in hexadecimal digits")
    if not 0 <= number < MOST_CHUNKS:
        raise invalid("number", f"must be between 0 and {MOST_CHUNKS - 1}")
    try:
        chunk = base64.b64decode(data.data, validate=True)
    except ValueError as error:
        raise invalid("data", "is not base64") from error
    if len(chunk) > LARGEST_CHUNK:
        raise invalid("data", "is larger than a chunk can be")
    async with database.changing(request.user.project_id) as connection:
        await builds.add_bundle_chunk(connection, request.user.project_id, hash, number, chunk)


@get("/builds", operation_id="listBuilds", opt={DEPLOY_KEYS: True}, summary="List builds", responses=problems(422))
async def list_builds(
    request: CallerRequest, database: NamedDependency[Database], limit: Limit = 50, cursor: Cursor = None
) -> Page[BuildSummary]:
    """Newest first, without packages and locks: GET /builds/{id} has them. A build is kept while a function or version
    refers to it, and for a day in any case."""
    request.user.require_all_functions()
    project_id = request.user.project_id
    before = None if cursor is None else read_cursor(cursor, tuple[datetime, UUID], (datetime.max, project_id))
    found = await database.read(lambda c: builds.list_builds(c, project_id, before, limit + 1))
    return Page[BuildSummary].of(found, limit, BuildSummary.model_validate, lambda build: (build.created_at, build.id))


@get(
    "/builds/{id:uuid}",
    operation_id="getBuild",
    opt={DEPLOY_KEYS: True},
    summary="Read a build",
    responses=problems(404),
)
async def get_build(request: CallerRequest, database: NamedDependency[Database], id: Id) -> BuildDetails:
    """Its status, packages and lock."""
    return BuildDetails.model_validate(await _build(database, request, id))


@get(
    "/builds/{id:uuid}/logs",
    operation_id="getBuildLogs",
    opt={DEPLOY_KEYS: True},
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
    opt={DEPLOY_KEYS: True},
    summary="Cancel a build",
    guards=[role("developer")],
    status_code=200,
    responses=problems(403, 404),
)
async def cancel_build(request: CallerRequest, database: NamedDependency[Database], id: Id) -> BuildDetails:
    """A running build is stopped within seconds; a finished one stays as it is."""
    project_id = request.user.project_id
    async with database.changing(request.user.project_id) as connection:
        await builds.cancel(connection, project_id, id)
    return BuildDetails.model_validate(await _build(database, request, id))


router = Router(
    "/",
    route_handlers=[request_build, upload_bundle_chunk, list_builds, get_build, get_build_logs, cancel_build],
    guards=[role("viewer")],
    security=BEARER,
    tags=["builds"],
    request_max_body_size=8 * MIB,
)
