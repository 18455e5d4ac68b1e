"""Several functions deployed together, and whole projects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from litestar import Router, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, QueryParameter

from api.auth.credentials import DEPLOY_KEYS, Caller, CallerRequest, role
from api.database import Database
from api.http.endpoints import BEARER, problems
from api.http.json_bodies import MIB
from api.management.checking import Checker
from api.management.deploying.functions import check_code, deploy_functions, refuse_twice, stored_fields
from api.management.deploying.project import ProjectDeployment
from api.management.deploying.releasing import release
from api.management.models.deployments import ProjectPlan, ProjectToDeploy
from api.management.models.functions import FunctionDetails
from api.management.models.versions import Deployed, Deployment, DeploymentDetails
from api.management.project_roles import ProjectRoles
from sql import catalog
from support.sealing import Sealer

LARGEST_DEPLOYMENT = 32 * MIB
Force = Annotated[bool, QueryParameter(description="true: deploy code even if it cannot be loaded.")]


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
    force: Force = False,
) -> DeploymentDetails:
    """Creates functions, or updates those whose name exists: all in one transaction, or none.

    Code that cannot be parsed or certainly lacks its entry point is refused. It is not executed for that.
    """
    names = [function.name for function in data.functions]
    refuse_twice(names)
    project_id = request.user.project_id
    await _require_named(database, request.user, names)
    desired = [await stored_fields(database, project_id, one.settings(), n) for n, one in enumerate(data.functions)]
    if not force:
        await check_code(database, checker, project_id, list(enumerate(desired)))
    async with database.changing(request.user.project_id) as connection, connection.transaction():
        done = await deploy_functions(connection, request.user, desired)
        if not all(request.user.may_see(one.after.id) for one in done):  # made anew since the look at the names
            request.user.require_all_functions()
        for one, wanted in zip(done, data.functions, strict=True):
            await release(connection, one, wanted.message, wanted.share)
    return DeploymentDetails(
        items=[Deployed(action=one.action, function=FunctionDetails.model_validate(one.after)) for one in done]
    )


async def _require_named(database: Database, caller: Caller, names: Sequence[str]) -> None:
    """Raises Problem 403 for a key that is limited to other functions, before it learns anything about these."""
    if caller.functions is None:
        return
    found = await database.read(lambda c: catalog.ids_of_names(c, caller.project_id, names))
    if len(found) < len(names) or not all(map(caller.may_see, found)):
        caller.require_all_functions()


@post(
    "/deployments/project",
    operation_id="deployProject",
    opt={DEPLOY_KEYS: True},
    summary="Deploy or plan a whole project",
    guards=[role("developer")],
    status_code=200,
    responses=problems(403, 404, 409, 413, 422),
)
async def deploy_project(
    request: CallerRequest,
    database: NamedDependency[Database],
    checker: NamedDependency[Checker],
    project_roles: NamedDependency[ProjectRoles],
    sealer: NamedDependency[Sealer],
    data: JSONBody[ProjectToDeploy],
    plan: Annotated[bool, QueryParameter(description="true: roll back, and return what would change.")] = False,
    force: Force = False,
) -> ProjectPlan:
    """Brings functions, schedules, webhooks, table changes and aliases to the declared state: all of it, or nothing.

    What is left out of a declared thing gets its default. Things that are not declared are left alone and listed,
    unless `prune` deletes them; functions only for members. A thing that something else has changed since the last
    deployment is not overwritten: 409, `changed_elsewhere`, unless `overwrite` is true or `based_on` has its present
    hash.
    """
    request.user.require_all_functions()
    deployment = ProjectDeployment(database, checker, project_roles, sealer, request.user, data)
    return await deployment.run(plan=plan, force=force)


router = Router(
    "/",
    route_handlers=[deploy, deploy_project],
    security=BEARER,
    tags=["functions"],
    request_max_body_size=LARGEST_DEPLOYMENT,
)
