"""Logging in and out."""

from __future__ import annotations

from typing import Any

from litestar import Request, Router, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import JSONBody

from api.auth.credentials import CallerRequest, bearer, client_of, role
from api.auth.models import (
    Acceptance,
    Credentials,
    Logout,
    PasswordChange,
    ProjectSwitch,
    ProjectToken,
    Refresh,
    Session,
)
from api.auth.sessions import Sessions
from api.http.endpoints import BEARER, problems
from api.http.problems import unauthorized

AnonymousRequest = Request[Any, Any, State]


@post("/auth/login", operation_id="login", summary="Log in", status_code=200, responses=problems(403, 422, 429))
async def login(request: AnonymousRequest, sessions: NamedDependency[Sessions], data: JSONBody[Credentials]) -> Session:
    """Returns a token for one project, valid for fifteen minutes, and a refresh token."""
    return await sessions.log_in(data, client_of(request))


@post(
    "/auth/refresh",
    operation_id="refresh",
    summary="Get a new token",
    status_code=200,
    responses=problems(403, 422, 429),
)
async def refresh(request: AnonymousRequest, sessions: NamedDependency[Sessions], data: JSONBody[Refresh]) -> Session:
    """Exchanges a refresh token, for the same project or another of yours. One that is used twice ends the session."""
    return await sessions.refresh(data, client_of(request))


@post(
    "/auth/switch",
    operation_id="switchProject",
    summary="Get a token for another project",
    guards=[role("viewer")],
    status_code=200,
    responses=problems(403, 422),
    security=BEARER,
)
async def switch(
    request: CallerRequest, sessions: NamedDependency[Sessions], data: JSONBody[ProjectSwitch]
) -> ProjectToken:
    """For one of your projects. The token you send stays valid, and so does the refresh token."""
    token = bearer(request)
    if token is None:  # below /console/api a cookie passes the guard
        raise unauthorized("missing_credentials", "This needs a token in the Authorization header.")
    return await sessions.switch(token, request.user.person, data.project)


@post("/auth/logout", operation_id="logout", summary="Log out", status_code=204, responses=problems(422))
async def logout(sessions: NamedDependency[Sessions], data: JSONBody[Logout]) -> None:
    """Ends the session: its token and refresh token are refused from then on."""
    await sessions.log_out(data.refresh_token)


@post(
    "/auth/accept",
    operation_id="acceptInvitation",
    summary="Accept an invitation",
    status_code=200,
    responses=problems(404, 409, 422, 429),
)
async def accept(request: AnonymousRequest, sessions: NamedDependency[Sessions], data: JSONBody[Acceptance]) -> Session:
    """Makes you a member, with your account or a new one, and logs you in."""
    return await sessions.accept(data, client_of(request))


@post(
    "/auth/password",
    operation_id="changePassword",
    summary="Change your password",
    status_code=200,
    responses=problems(403, 422, 429),
)
async def password(
    request: AnonymousRequest, sessions: NamedDependency[Sessions], data: JSONBody[PasswordChange]
) -> Session:
    """Ends all your sessions and starts a new one."""
    return await sessions.change_password(data, client_of(request))


router = Router("/", route_handlers=[login, refresh, switch, logout, accept, password], tags=["login"])
