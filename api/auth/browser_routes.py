"""Signing in to the console with a browser. The session cookie is sent to paths below /console only."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response, Router, delete, get, post
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import JSONBody

from api.auth.browsers import BrowserSessions, no_session
from api.auth.cookies import no_session_cookie, require_own_page, session_cookie, session_token
from api.auth.credentials import Access, CallerRequest, bearer, client_of, role
from api.auth.models import BrowserCredentials, BrowserSession, LinkToUse, PersonDetails, ProjectOfPerson, SignInLink
from api.http.endpoints import BEARER, problems
from api.http.problems import unauthorized

AnonymousRequest = Request[Any, Any, State]
COOKIE: list[dict[str, list[str]]] = [{"cookie": []}]


async def _signed_in(sessions: BrowserSessions, request: AnonymousRequest, token: str) -> Response[BrowserSession]:
    person, projects = await sessions.person(token)
    body = BrowserSession(
        user=PersonDetails(id=person.user_id, email=person.email),
        expires_at=person.expires_at,
        projects=[ProjectOfPerson(id=p.id, slug=p.slug, name=p.name, role=p.role) for p in projects],
    )
    return Response(body, cookies=[session_cookie(request, token, person.expires_at)])


@post(
    "/console/session",
    operation_id="signIn",
    summary="Sign a browser in",
    status_code=200,
    responses=problems(422, 429),
)
async def sign_in(
    request: AnonymousRequest, browsers: NamedDependency[BrowserSessions], data: JSONBody[BrowserCredentials]
) -> Response[BrowserSession]:
    """Sets the session cookie: HttpOnly, SameSite=Strict, for a week. It counts below `/console/api`, where this API
    answers as well. Requests with it need the header `x-zmesh-console` and name the project by `x-zmesh-project`."""
    require_own_page(request)
    token = await browsers.sign_in(data.email, data.password, client_of(request))
    return await _signed_in(browsers, request, token)


@post(
    "/console/session/link",
    operation_id="signInByLink",
    summary="Sign a browser in by a link",
    status_code=200,
    responses=problems(422, 429),
)
async def sign_in_by_link(
    request: AnonymousRequest, browsers: NamedDependency[BrowserSessions], data: JSONBody[LinkToUse]
) -> Response[BrowserSession]:
    """The same, with the token of a sign-in link. A link works once."""
    require_own_page(request)
    token = await browsers.sign_in_by_link(data.token, client_of(request))
    return await _signed_in(browsers, request, token)


@get("/console/session", operation_id="getSession", summary="Who is signed in", responses=problems(), security=COOKIE)
async def get_session(
    request: AnonymousRequest, browsers: NamedDependency[BrowserSessions]
) -> Response[BrowserSession]:
    """The person of the session cookie, and their projects with their roles."""
    token = session_token(request)
    if token is None:
        raise no_session()
    return await _signed_in(browsers, request, token)


@delete(
    "/console/session",
    operation_id="signOut",
    summary="Sign a browser out",
    status_code=204,
    responses=problems(),
    security=COOKIE,
)
async def sign_out(request: AnonymousRequest, browsers: NamedDependency[BrowserSessions]) -> Response[None]:
    """Ends the session of the cookie and removes it. Without a cookie, nothing happens."""
    require_own_page(request)
    token = session_token(request)
    if token is not None:
        await browsers.sign_out(token)
    return Response(None, status_code=204, cookies=[no_session_cookie(request)])


@post(
    "/auth/links",
    operation_id="createSignInLink",
    summary="Create a sign-in link to the console",
    guards=[role("viewer")],
    responses=problems(),
    security=BEARER,
)
async def create_link(
    request: CallerRequest, browsers: NamedDependency[BrowserSessions], access: NamedDependency[Access]
) -> SignInLink:
    """For yourself. It works once, within fifteen minutes; the browser then shares the session of the token."""
    token = bearer(request)
    if token is None:
        raise unauthorized("missing_credentials", "A sign-in link is created with a token, not with a cookie.")
    link, expires_at = await browsers.create_link(access.tokens.read(token))
    return SignInLink(path=f"/signin#{link}", expires_at=expires_at)


router = Router("/", route_handlers=[sign_in, sign_in_by_link, get_session, sign_out, create_link], tags=["login"])
