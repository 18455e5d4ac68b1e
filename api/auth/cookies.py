"""The session cookie of the console, and which requests may use it.

Functions answer on the same host, so the cookie's Path is /console: no request to a function or webhook carries it. It
counts below /console only, where the management API is served a second time for browsers.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from litestar.connection import ASGIConnection
from litestar.datastructures import Cookie

from api.http.hosts import is_origin_of
from api.http.middleware import CONSOLE_PATH, CONSOLE_SCOPE, SESSION_COOKIE, SESSION_COOKIE_OVER_TLS
from api.http.problems import Problem

OWN_HEADER = "x-zmesh-console"  # a page of another origin cannot send it without asking, and is refused
PROJECT_HEADER = "x-zmesh-project"
SAFE_METHODS = ("GET", "HEAD")
STRICT: Literal["strict"] = "strict"

Connection = ASGIConnection[Any, Any, Any, Any]


def in_console(connection: Connection) -> bool:
    """Whether a request is one to the management API for pages of the console."""
    return bool(connection.scope.get(CONSOLE_SCOPE))


def session_token(connection: Connection) -> str | None:
    """The token in the session cookie of a request below /console. Raises Problem 403 for one of another page."""
    token = connection.cookies.get(_name(connection))
    if token is not None:
        require_own_page(connection)
    return token


def require_own_page(connection: Connection) -> None:
    """Raises Problem 403 unless the request comes from a page of the console."""
    site, origin = connection.headers.get("sec-fetch-site"), connection.headers.get("origin")
    own_site = site in (None, "same-origin")
    own_origin = origin is None or is_origin_of(origin, connection.headers.get("host", ""))
    method: Any = connection.scope.get("method")
    declared = method in SAFE_METHODS or OWN_HEADER in connection.headers
    if not (own_site and own_origin and declared):
        raise Problem(
            403,
            "cross_site_request",
            "Only pages of the console may use the session cookie.",
            f"Send the header {OWN_HEADER}: 1 from a page of this origin, or use a token in the Authorization header.",
        )


def project_of(connection: Connection) -> str | None:
    """Id or slug of the project that a request of the console names; EventSource cannot send headers."""
    return connection.headers.get(PROJECT_HEADER) or connection.query_params.get("project") or None


def session_cookie(connection: Connection, token: str, expires_at: datetime) -> Cookie:
    """The cookie that signs a browser in."""
    seconds = max(0, int((expires_at - datetime.now(UTC)).total_seconds()))
    return Cookie(
        key=_name(connection),
        value=token,
        path=CONSOLE_PATH.rstrip("/"),
        max_age=seconds,
        httponly=True,
        secure=_over_tls(connection),
        samesite=STRICT,
    )


def no_session_cookie(connection: Connection) -> Cookie:
    """The cookie that signs it out."""
    return session_cookie(connection, "", datetime.now(UTC))


def _name(connection: Connection) -> str:
    return SESSION_COOKIE_OVER_TLS if _over_tls(connection) else SESSION_COOKIE


def _over_tls(connection: Connection) -> bool:
    return bool(connection.scope["scheme"] == "https")
