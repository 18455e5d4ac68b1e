"""Versions of functions: read, compared, rolled back to, and named by aliases."""

from __future__ import annotations

import re
from operator import attrgetter
from typing import Annotated

from litestar import Response, Router, delete, get, post, put
from litestar.di import NamedDependency
from litestar.params import JSONBody, PathParameter, QueryParameter

from api.auth.credentials import DEPLOY_KEYS, CallerRequest, role
from api.auth.functions import function_of
from api.database import Database
from api.http.endpoints import BEARER, FunctionId, problems
from api.http.etags import required_revisions, revision_conflict
from api.http.models import raw
from api.http.operations import ConditionalChange
from api.http.paging import Cursor, Limit, Page, read_cursor
from api.http.problems import Problem, invalid, not_found
from api.management.comparing import Comparisons
from api.management.models.files import FileChange
from api.management.models.functions import FunctionDetails
from api.management.models.versions import AliasDetails, AliasToSet, Changed, FunctionVersion, VersionDiff
from api.management.routes.functions import shown
from sql import builds, catalog, versions
from sql.catalog import Function
from sql.errors import NotFound, Outdated
from sql.versions import Alias, Version

Packages = list[dict[str, str]]
NEWEST = 2**31 - 1
ALIAS = re.compile(r"[a-z][a-z0-9-]{0,62}")
VersionNumber = Annotated[int, PathParameter(description="The current version or a saved one.")]
AliasName = Annotated[str, PathParameter(description="Name of the alias.")]


async def version_of(database: Database, function: Function, number: int) -> Version:
    """A version of a function. Raises Problem 404."""
    version = None
    if 0 < number <= NEWEST:
        version = await database.read(lambda c: versions.find_version(c, function.id, number))
    if version is None:
        raise not_found("version", number)
    return version


@get(
    "/functions/{id:str}/versions",
    operation_id="listVersions",
    opt={DEPLOY_KEYS: True},
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
    """The current version and every saved one, newest first. Files are listed with paths and sizes only."""
    function = await function_of(database, request, id)
    before = read_cursor(cursor, int, NEWEST)
    found = await database.read(lambda c: versions.list_versions(c, function.id, min(before, NEWEST), limit + 1))
    return Page[FunctionVersion].of(found, limit, FunctionVersion.model_validate, attrgetter("version"))


@post(
    "/functions/{id:str}/versions/{version:int}/rollback",
    operation_id="rollbackFunction",
    opt={DEPLOY_KEYS: True},
    operation_class=ConditionalChange,
    summary="Roll back to a version",
    guards=[role("developer")],
    status_code=200,
    responses=problems(403, 404, 409, 412),
)
async def rollback(
    request: CallerRequest,
    database: NamedDependency[Database],
    id: FunctionId,
    version: Annotated[int, PathParameter(description="A saved version.")],
) -> Response[FunctionDetails]:
    """Saves the current state as a version, then restores the older one: a rollback can be rolled back. With If-Match,
    fails if the function has changed since it was read."""
    function = await function_of(database, request, id)
    if not 0 < version <= NEWEST:
        raise not_found("version", version)
    by = request.user.id
    try:
        async with database.changing(request.user.project_id) as connection:
            return shown(await versions.rollback(connection, function.id, version, by, required_revisions(request)))
    except Outdated as error:
        raise revision_conflict(await function_of(database, request, str(function.id))) from error
    except NotFound as error:
        raise not_found("version", version) from error


@post(
    "/functions/{id:str}/versions/{version:int}/retire",
    operation_id="retireVersion",
    summary="Retire a version",
    guards=[role("developer")],
    status_code=200,
    responses=problems(403, 404, 409),
)
async def retire(
    request: CallerRequest, database: NamedDependency[Database], id: FunctionId, version: VersionNumber
) -> FunctionVersion:
    """No call, alias, retry or rollback starts the version any more. Queued invocations of it are cancelled when their
    turn comes; running attempts may finish. The current version, and one that an alias names, cannot be retired."""
    function = await function_of(database, request, id)
    await version_of(database, function, version)
    async with database.changing(request.user.project_id) as connection:
        await versions.retire(connection, function.id, version)
    return FunctionVersion.model_validate(await version_of(database, function, version))


@post(
    "/functions/{id:str}/versions/{version:int}/unretire",
    operation_id="unretireVersion",
    summary="Allow a retired version to run again",
    guards=[role("developer")],
    status_code=200,
    responses=problems(403, 404),
)
async def unretire(
    request: CallerRequest, database: NamedDependency[Database], id: FunctionId, version: VersionNumber
) -> FunctionVersion:
    """A version that is not retired stays as it is."""
    function = await function_of(database, request, id)
    if not (await version_of(database, function, version)).current:
        async with database.changing(request.user.project_id) as connection:
            await versions.unretire(connection, function.id, version)
    return FunctionVersion.model_validate(await version_of(database, function, version))


@get(
    "/functions/{id:str}/versions/{version:int}",
    operation_id="getVersion",
    opt={DEPLOY_KEYS: True},
    summary="Read a version",
    responses=problems(404),
)
async def get_version(
    request: CallerRequest, database: NamedDependency[Database], id: FunctionId, version: VersionNumber
) -> FunctionVersion:
    """Its code, files, entry point and language."""
    function = await function_of(database, request, id)
    answer = FunctionVersion.model_validate(await version_of(database, function, version))
    if answer.entry_file is not None:
        answer.files = raw(await database.read(lambda c: catalog.read_files(c, function.id, version)))
    return answer


@get(
    "/functions/{id:str}/versions/{version:int}/diff",
    operation_id="compareVersions",
    opt={DEPLOY_KEYS: True},
    summary="Compare two versions",
    responses=problems(404, 422, 429),
)
async def compare_versions(
    request: CallerRequest,
    database: NamedDependency[Database],
    comparisons: NamedDependency[Comparisons],
    id: FunctionId,
    version: VersionNumber,
    before: Annotated[int | None, QueryParameter(description="Default: the previous version.")] = None,
) -> VersionDiff:
    """The differences between two versions as a unified diff. If it takes long, large parts are shown as replaced."""
    function = await function_of(database, request, id)
    after = await version_of(database, function, version)
    number = version - 1 if before is None else before
    compared = None if before is None and number == 0 else await version_of(database, function, number)
    old = "" if compared is None else compared.code
    names = ("nothing" if compared is None else f"version {compared.version}", f"version {after.version}")
    settings = {
        key: Changed(before=getattr(compared, key, None), after=getattr(after, key))
        for key in ("language", "entry_point", "style", "init", "entry_file")
        if getattr(compared, key, None) != getattr(after, key)
    }
    return VersionDiff(
        before=None if compared is None else compared.version,
        after=after.version,
        code=await comparisons.diff(function.project_id, old, after.code, names),
        files=await _changed_files(database, comparisons, function, compared, after),
        settings=settings,
        packages=await _changed_packages(database, function, compared, after),
    )


async def _changed_packages(
    database: Database, function: Function, before: Version | None, after: Version
) -> dict[str, Changed]:
    async def installed(version: Version | None) -> Packages:
        build = None if version is None else version.build_id
        if build is None:
            return []
        return await database.read(lambda c: builds.packages_of(c, function.project_id, build))

    if (None if before is None else before.build_id) == after.build_id:
        return {}
    return changed_packages(await installed(before), await installed(after))


def changed_packages(old: Packages, new: Packages) -> dict[str, Changed]:
    """Packages whose versions differ, or whose hashes do though the versions are the same; several versions of one
    package are named together."""
    changed: dict[str, Changed] = {}
    for name in sorted({package["name"] for package in (*old, *new)}):
        before, after = ([one for one in packages if one["name"] == name] for packages in (old, new))
        with_hash = _versions(before) == _versions(after) and all("hash" in one for one in (*before, *after))
        if (was := _versions(before, with_hash=with_hash)) != (now := _versions(after, with_hash=with_hash)):
            changed[name] = Changed(before=was, after=now)
    return changed


def _versions(packages: Packages, *, with_hash: bool = False) -> str | None:
    found = {f"{one['version']} ({one['hash']})" if with_hash else one["version"] for one in packages}
    return ", ".join(sorted(found)) or None


async def _changed_files(
    database: Database, comparisons: Comparisons, function: Function, before: Version | None, after: Version
) -> dict[str, FileChange]:
    if after.entry_file is None and (before is None or before.entry_file is None):
        return {}
    old = "{}"
    if before is not None:
        old = await database.read(lambda c: versions.files_of(c, function.id, before.version))
    new = await database.read(lambda c: versions.files_of(c, function.id, after.version))
    return await comparisons.files(function.project_id, old, new)


@get(
    "/functions/{id:str}/aliases",
    operation_id="listAliases",
    opt={DEPLOY_KEYS: True},
    summary="List aliases",
    responses=problems(404, 422),
)
async def list_aliases(
    request: CallerRequest,
    database: NamedDependency[Database],
    id: FunctionId,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[AliasDetails]:
    """Ordered by name."""
    function = await function_of(database, request, id)
    after = read_cursor(cursor, str, "")
    found = await database.read(lambda c: versions.list_aliases(c, function.id, after, limit + 1))
    return Page[AliasDetails].of(found, limit, AliasDetails.of, attrgetter("name"))


@put(
    "/functions/{id:str}/aliases/{alias:str}",
    operation_id="setAlias",
    opt={DEPLOY_KEYS: True},
    summary="Set an alias",
    guards=[role("developer")],
    responses=problems(403, 404, 422),
)
async def set_alias(
    request: CallerRequest,
    database: NamedDependency[Database],
    id: FunctionId,
    alias: AliasName,
    data: JSONBody[AliasToSet],
) -> AliasDetails:
    """Invocations that name the alias run one of its versions, as the shares say; chosen once for all attempts.
    Those that name nothing follow the alias `live` where there is one, else they run the current version."""
    function = await function_of(database, request, id)
    if not ALIAS.fullmatch(alias):
        raise invalid("alias", "must be at most 63 lowercase letters, digits and hyphens, starting with a letter")
    shares = {int(version): share for version, share in data.versions.items()}
    try:
        async with database.changing(request.user.project_id) as connection:
            await versions.set_alias(connection, function.id, alias, shares)
    except NotFound as error:
        raise Problem(404, "version_not_found", error.message, error.hint) from error
    return AliasDetails.of(await _alias(database, function, alias))


@delete(
    "/functions/{id:str}/aliases/{alias:str}",
    operation_id="deleteAlias",
    opt={DEPLOY_KEYS: True},
    summary="Delete an alias",
    guards=[role("developer")],
    responses=problems(403, 404),
)
async def delete_alias(
    request: CallerRequest, database: NamedDependency[Database], id: FunctionId, alias: AliasName
) -> None:
    """Queued invocations keep the version that was chosen for them."""
    function = await function_of(database, request, id)
    deleted = False
    if ALIAS.fullmatch(alias):
        async with database.changing(request.user.project_id) as connection:
            deleted = await versions.delete_alias(connection, function.id, alias)
    if not deleted:
        raise not_found("alias", alias)


async def _alias(database: Database, function: Function, name: str) -> Alias:
    alias = await database.read(lambda c: versions.find_alias(c, function.id, name))
    if alias is None:
        raise not_found("alias", name)
    return alias


router = Router(
    "/",
    route_handlers=[
        list_versions,
        get_version,
        compare_versions,
        rollback,
        retire,
        unretire,
        list_aliases,
        set_alias,
        delete_alias,
    ],
    guards=[role("viewer")],
    security=BEARER,
    tags=["versions"],
)
