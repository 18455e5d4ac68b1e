"""Several functions deployed together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal
from uuid import UUID

from litestar import Router, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, QueryParameter
from psycopg import AsyncConnection

from api.auth.credentials import CallerRequest, role
from api.database import Database
from api.http.endpoints import BEARER, problems
from api.http.etags import revision_conflict
from api.http.json_bodies import MIB
from api.http.problems import Problem, invalid, not_found, of_domain_error
from api.management.checking import Checker, Code
from api.management.models.functions import FunctionDetails, FunctionToCreate
from api.management.models.versions import Deployed, Deployment, DeploymentDetails, FunctionToDeploy
from api.management.packages import CODE_FIELDS as PACKAGE_FIELDS
from api.management.packages import as_mapping, build_of
from sql import catalog
from sql.catalog import Function
from sql.errors import DomainError, translated

LARGEST_DEPLOYMENT = 32 * MIB
CODE_FIELDS = {"language", "entry_point", "code"}


@post(
    "/deployments",
    operation_id="deploy",
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
    if not force:
        await _check(database, checker, request.user.project_id, data.functions)
    done: dict[str, Deployed] = {}
    async with database.connection() as connection, connection.transaction():
        # One order for everybody: two deployments of the same functions must not wait for each other.
        for desired in sorted(data.functions, key=lambda function: function.name):
            try:
                done[desired.name] = await _deploy_one(connection, request.user.project_id, desired)
            except Problem as problem:
                raise _with_function(problem, desired.name, names.index(desired.name)) from problem
    return DeploymentDetails(items=[done[name] for name in names])


async def _check(database: Database, checker: Checker, project_id: UUID, desired: Sequence[FunctionToDeploy]) -> None:
    """Raises Problem for the first function whose new code cannot load."""
    codes: list[tuple[int, Code]] = []
    for index, function in enumerate(desired):
        changes = function.changes()
        if not changes.keys() & CODE_FIELDS:
            continue
        name = function.name
        existing = None
        if not changes.keys() >= CODE_FIELDS:
            existing = await database.read(lambda c, name=name: catalog.find_by_name(c, project_id, name))  # type: ignore[misc]
        facts = {
            "entry_point": "handler",
            **({field: getattr(existing, field) for field in CODE_FIELDS} if existing else {}),
            **changes,
        }
        if facts.keys() >= CODE_FIELDS:  # what is missing is refused with a better reason
            codes.append((index, Code(name, **{field: facts[field] for field in CODE_FIELDS})))
    problems = await checker.problems(project_id, [code for _, code in codes])
    for (index, code), problem in zip(codes, problems, strict=True):
        if problem is not None:
            raise _with_function(problem, code.name, index)


async def _deploy_one(connection: AsyncConnection, project_id: UUID, desired: FunctionToDeploy) -> Deployed:
    """Raises Problem."""
    changes = {name: value for name, value in desired.changes().items() if name not in ("name", "revision")}
    try:
        with translated():
            function = await catalog.lock_by_name(connection, project_id, desired.name)
            if function is None:
                new = _new(desired, changes)
                new["build_id"] = await build_of(connection, project_id, new)
                created = await catalog.insert_function(connection, project_id, new)
                return _deployed("created", created)
            if desired.revision not in (None, function.revision):
                raise revision_conflict(function)
            if changes.keys() & PACKAGE_FIELDS:
                changes["build_id"] = await build_of(connection, project_id, as_mapping(function) | changes)
            changes = {name: value for name, value in changes.items() if getattr(function, name) != value}
            if not changes:
                return _deployed("unchanged", function)
            changed = await catalog.update_function(connection, function.id, changes)
            assert changed is not None
            return _deployed("updated", changed)
    except DomainError as error:
        raise of_domain_error(error) from error


def _new(desired: FunctionToDeploy, changes: dict[str, Any]) -> dict[str, Any]:
    if desired.revision is not None:
        raise not_found("function", desired.name)
    for field in ("language", "code"):
        if field not in changes:
            raise invalid(field, "is required for a new function")
    return FunctionToCreate(name=desired.name, **changes).model_dump()


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
