"""Logging in."""

from __future__ import annotations

from typing import Any

from litestar import Request, Router, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import JSONBody

from api.auth import Access
from api.database import Database
from api.logins import Logins
from api.models.auth import Credentials, Session
from api.problems import Problem
from api.routes.common import problems
from sql import access as queries


@post(
    "/auth/login",
    operation_id="login",
    summary="Log in",
    status_code=200,
    responses=problems(403, 422, 429),
)
async def login(
    request: Request[Any, Any, State],
    database: NamedDependency[Database],
    logins: NamedDependency[Logins],
    access: NamedDependency[Access],
    data: JSONBody[Credentials],
) -> Session:
    """A token of twelve hours for one project."""
    client = request.client.host if request.client else ""
    user = await logins.check(data.email, data.password, client)
    projects = await database.read(lambda connection: queries.projects_of(connection, user.id))
    wanted = [p for p in projects if data.project in (None, p.slug, str(p.id))]
    if not wanted:
        raise Problem(403, "not_a_member", "You are not a member of that project.")
    token, expires_at = access.tokens.issue(user.id, wanted[0].id)
    return Session(token=token, expires_at=expires_at, project_id=wanted[0].id)


router = Router("/", route_handlers=[login], tags=["login"])
