"""Projects of a person."""

from __future__ import annotations

from operator import attrgetter
from typing import Annotated
from uuid import UUID

from litestar import Router, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, PathParameter

from api.auth.credentials import CallerRequest, require_role, role
from api.database import Database
from api.http.endpoints import BEARER, problems
from api.http.paging import Cursor, Limit, Page, read_cursor
from api.http.problems import not_found
from api.management.models.projects import ProjectChange, ProjectDatabaseDetails, ProjectDetails, ProjectToCreate
from api.management.project_roles import ProjectRoles
from sql import projects, registries
from sql.accounts import NewProject
from sql.projects import Project
from support.sealing import Sealer

Id = Annotated[UUID, PathParameter(description="Id of the project.")]


async def _project(database: Database, request: CallerRequest, id: UUID, least: str) -> Project:
    """A project of the caller's, in which they have at least this role. Raises Problem 404 or 403."""
    user_id = request.user.person
    project = await database.read(lambda c: projects.find_project(c, user_id, id))
    if project is None:
        raise not_found("project", id)
    require_role(project.role, least)
    return project


@get("/projects", operation_id="listProjects", summary="List your projects", responses=problems(422))
async def list_projects(
    request: CallerRequest, database: NamedDependency[Database], limit: Limit = 50, cursor: Cursor = None
) -> Page[ProjectDetails]:
    """Ordered by slug. POST /auth/switch issues a token for another one."""
    after, user_id = read_cursor(cursor, str, ""), request.user.person
    found = await database.read(lambda c: projects.list_projects(c, user_id, after, limit + 1))
    return Page[ProjectDetails].of(found, limit, ProjectDetails.model_validate, attrgetter("slug"))


@post(
    "/projects",
    operation_id="createProject",
    summary="Create a project",
    guards=[role("owner")],
    responses=problems(403, 409, 422),
)
async def create_project(
    request: CallerRequest,
    database: NamedDependency[Database],
    sealer: NamedDependency[Sealer],
    data: JSONBody[ProjectToCreate],
) -> ProjectDetails:
    """Creates a schema and a login role for it, and makes you its owner. Only for owners of the token's project."""
    new = NewProject.of(data.name, sealer)
    async with database.changing(request.user.project_id) as connection:
        id = await projects.create_project(connection, new, request.user.person)
    return ProjectDetails.model_validate(await _project(database, request, id, "owner"))


@get("/projects/{id:uuid}", operation_id="getProject", summary="Read a project", responses=problems(404))
async def get_project(request: CallerRequest, database: NamedDependency[Database], id: Id) -> ProjectDetails:
    """One of yours, whichever the token is for."""
    return ProjectDetails.model_validate(await _project(database, request, id, "viewer"))


@get(
    "/projects/{id:uuid}/database",
    operation_id="getProjectDatabase",
    summary="Read how to connect to a project's database",
    responses=problems(403, 404),
)
async def get_project_database(
    request: CallerRequest, database: NamedDependency[Database], project_roles: NamedDependency[ProjectRoles], id: Id
) -> ProjectDatabaseDetails:
    """The connection string contains the password of the project's role. Only for owners of this project."""
    project = await _project(database, request, id, "owner")
    return ProjectDatabaseDetails(
        database_url=await project_roles.url_for_owners(id),
        role_name=project.role_name,
        schema_name=project.schema_name,
    )


@patch(
    "/projects/{id:uuid}",
    operation_id="updateProject",
    summary="Rename a project, or change what its runs and builds may do",
    responses=problems(403, 404, 422),
)
async def update_project(
    request: CallerRequest, database: NamedDependency[Database], id: Id, data: JSONBody[ProjectChange]
) -> ProjectDetails:
    """The slug stays. A change of `network` applies to attempts that start from now on, of `allow_scripts` to builds.
    Only for owners of this project."""
    await _project(database, request, id, "owner")
    changes = data.changes()
    async with database.changing(request.user.project_id) as connection:
        if "name" in changes:
            await projects.rename_project(connection, id, data.name)
        if "network" in changes:
            await projects.set_network(connection, id, data.network)
        if "allow_scripts" in changes:
            await registries.allow_scripts(connection, id, data.allow_scripts)
    return ProjectDetails.model_validate(await _project(database, request, id, "owner"))


@delete("/projects/{id:uuid}", operation_id="deleteProject", summary="Delete a project", responses=problems(403, 404))
async def delete_project(request: CallerRequest, database: NamedDependency[Database], id: Id) -> None:
    """With its functions, keys, secrets and members, its tables and its login role. For owners of this project."""
    await _project(database, request, id, "owner")
    async with database.changing(request.user.project_id) as connection:
        await projects.delete_project(connection, id)


router = Router(
    "/",
    route_handlers=[list_projects, create_project, get_project, get_project_database, update_project, delete_project],
    guards=[role("viewer")],
    security=BEARER,
    tags=["projects"],
)
