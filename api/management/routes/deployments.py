"""Several functions deployed together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from litestar import Router, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, QueryParameter
from psycopg import AsyncConnection

from api.auth.credentials import DEPLOY_KEYS, Caller, CallerRequest, role
from api.database import Database
from api.http.endpoints import BEARER, problems
from api.http.etags import revision_conflict
from api.http.json_bodies import MIB
from api.http.problems import Problem, invalid, not_found, of_domain_error
from api.management import files
from api.management.checking import Checker, Code
from api.management.models.functions import FunctionDetails, FunctionToCreate
from api.management.models.versions import Deployed, Deployment, DeploymentDetails, FunctionToDeploy
from api.management.packages import CODE_FIELDS as PACKAGE_FIELDS
from api.management.packages import build_of, build_of_changed
from api.management.routes.functions import missing_code
from sql import catalog, versions
from sql.catalog import Function
from sql.errors import DomainError, translated

LARGEST_DEPLOYMENT = 32 * MIB
Fields = dict[str, Any]
LOADED_FIELDS = {"language", "entry_point", "code", "entry_file", "files"}
NEW: Fields = {"entry_point": "handler", "entry_file": None, "files": files.NO_FILES}


@post(
    "/deployments",
    operation_id="deploy",
    opt={DEPLOY_KEYS: True},
    summary="Deploy functions",
    guards=[role("developer")],
    status_code=200,
    responses=problems(403, 404, 409, 412, 413, 422),
)
async def deploy(
    request: CallerRequest,
    database: NamedDependency[Database],
    checker: NamedDependency[Checker],
    data: JSONBody[Deployment],
    force: Annotated[bool, QueryParameter(description="true: deploy even code that cannot load.")] = False,
) -> DeploymentDetails:
    """Creates functions, or updates those whose name exists: all in one transaction, or none.

    Code that cannot be parsed or certainly lacks its entry point is refused. It is not executed for that.
    """
    names = [function.name for function in data.functions]
    if twice := [name for index, name in enumerate(names) if name in names[:index]]:
        raise invalid("functions", f'contains the name "{twice[0]}" twice')
    project_id = request.user.project_id
    await _require_named(database, request.user, names)
    changes = [await _changes(database, project_id, function, n) for n, function in enumerate(data.functions)]
    if not force:
        await _check(database, checker, project_id, changes)
    done: dict[str, Deployed] = {}
    async with database.connection() as connection, connection.transaction():
        # One order for everybody: two deployments of the same functions must not wait for each other.
        for name in sorted(names):
            index = names.index(name)
            try:
                done[name] = await _deploy_one(connection, project_id, changes[index])
            except Problem as problem:
                raise _with_function(problem, name, index) from problem
            if not request.user.may_see(done[name].function.id):  # made anew since the look at the names
                request.user.require_all_functions()
    return DeploymentDetails(items=[done[name] for name in names])


async def _require_named(database: Database, caller: Caller, names: Sequence[str]) -> None:
    """Raises Problem 403 for a key that is limited to other functions, before it learns anything about these."""
    if caller.functions is None:
        return
    found = await database.read(lambda c: catalog.ids_of_names(c, caller.project_id, names))
    if len(found) < len(names) or not all(map(caller.may_see, found)):
        caller.require_all_functions()


async def _changes(database: Database, project_id: UUID, desired: FunctionToDeploy, index: int) -> Fields:
    """The columns to store for a function. Raises Problem."""
    changes, entry_file = desired.changes(), None
    if "files" in changes and "entry_file" not in changes:
        existing = await database.read(lambda c: catalog.find_by_name(c, project_id, desired.name))
        entry_file = existing.entry_file if existing else None
    try:
        return await files.stored(changes, entry_file)
    except Problem as problem:
        raise _with_function(problem, desired.name, index) from problem


async def _check(database: Database, checker: Checker, project_id: UUID, desired: Sequence[Fields]) -> None:
    """Raises Problem for the first function whose new code cannot load."""
    codes: list[tuple[int, Code]] = []
    for index, changes in enumerate(desired):
        if not changes.keys() & LOADED_FIELDS:
            continue
        facts = {**NEW, **changes}
        if not changes.keys() >= LOADED_FIELDS:
            facts = {**NEW, **await _loaded_now(database, project_id, changes["name"]), **changes}
        if facts.keys() >= LOADED_FIELDS:  # what is missing is refused with a better reason
            codes.append((index, Code(changes["name"], **{field: facts[field] for field in LOADED_FIELDS})))
    problems = await checker.problems(project_id, [code for _, code in codes])
    for (index, code), problem in zip(codes, problems, strict=True):
        if problem is not None:
            raise _with_function(problem, code.name, index)


async def _loaded_now(database: Database, project_id: UUID, name: str) -> Fields:
    """What a run of the function loads; nothing if there is no such function."""
    function = await database.read(lambda c: catalog.find_by_name(c, project_id, name))
    if function is None:
        return {}
    loaded = {field: getattr(function, field) for field in LOADED_FIELDS}
    if function.entry_file is not None:
        content = await database.read(lambda c: versions.files_of(c, function.id, function.version))
        loaded["files"] = msgspec.Raw(content.encode())
    return loaded


async def _deploy_one(connection: AsyncConnection, project_id: UUID, desired: Fields) -> Deployed:
    """Raises Problem."""
    try:
        with translated():
            function = await catalog.lock_by_name(connection, project_id, desired["name"])
            if function is None:
                new = _new(desired)
                new["build_id"] = await build_of(connection, project_id, new)
                created = await catalog.insert_function(connection, project_id, new)
                return _deployed("created", created)
            if desired.get("revision") not in (None, function.revision):
                raise revision_conflict(function)
            changes = {
                name: value
                for name, value in desired.items()
                if name not in ("name", "revision", "files") and getattr(function, name) != value
            }
            if "files" in desired and not await catalog.has_files(connection, function.id, desired["files"]):
                changes["files"] = desired["files"]
            if desired.keys() & PACKAGE_FIELDS:
                build_id = await build_of_changed(connection, function, changes)
                changes |= {} if build_id == function.build_id else {"build_id": build_id}
            if not changes:
                return _deployed("unchanged", function)
            changed = await catalog.update_function(connection, function.id, changes)
            assert changed is not None
            return _deployed("updated", changed)
    except DomainError as error:
        raise of_domain_error(error) from error


def _new(desired: Fields) -> Fields:
    if desired.get("revision") is not None:
        raise not_found("function", desired["name"])
    if "language" not in desired:
        raise invalid("language", "is required for a new function")
    if "code" not in desired:
        raise missing_code(desired.get("entry_file"))
    settings = {name: value for name, value in desired.items() if name not in ("revision", "files")}
    return {**FunctionToCreate(**settings).model_dump(), "files": desired.get("files", files.NO_FILES)}


def _deployed(action: Literal["created", "updated", "unchanged"], function: Function) -> Deployed:
    return Deployed(action=action, function=FunctionDetails.model_validate(function))


def _with_function(problem: Problem, name: str, index: int) -> Problem:
    """The same problem, saying which function it is about."""
    return Problem(
        problem.status,
        problem.code,
        f'"{name}": {problem.detail.rstrip(".")}. Nothing was deployed.',
        problem.hint,
        errors=[{**error, "field": f"functions.{index}.{error['field']}"} for error in problem.errors],
        headers=problem.headers,
    )


router = Router(
    "/",
    route_handlers=[deploy],
    security=BEARER,
    tags=["functions"],
    request_max_body_size=LARGEST_DEPLOYMENT,
)
