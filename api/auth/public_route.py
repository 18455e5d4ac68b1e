"""Who may call a function's public route, and how: its own settings decide."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from litestar.handlers import BaseRouteHandler

from api.auth.callers import ANONYMOUS, Credential
from api.auth.credentials import (
    RANKS,
    SLUG,
    Access,
    Connection,
    access_of,
    api_key,
    bearer,
    client_of,
    function_disabled,
)
from api.http.hosts import is_origin_of, project_of_host
from api.http.middleware import CORS_SCOPE
from api.http.problems import Problem, not_found, unauthorized
from sql.access import PublicFunction
from sql.invocations import AssumedAccess
from support.api_keys import key_hash

USER_HEADER = b"x-zmesh-user-id"
ANY = "*"
# What a page of this origin, such as the console, would run or show as a part of itself.
PARTS_OF_PAGES = frozenset(
    {
        *("script", "worker", "sharedworker", "serviceworker", "audioworklet", "paintworklet", "xslt", "json"),
        *("style", "font", "manifest", "frame", "iframe", "embed", "object", "fencedframe"),
    }
)
KEY_SUFFICES = ("api_key", "none")  # settings of auth with which a key is enough


@dataclass(frozen=True, slots=True)
class PublicAccess:
    """The function that a request to its public route may invoke, and the credential that allows it.

    Where both were not looked up but remembered, `assumed` is what the insert has to check.
    """

    function: PublicFunction
    credential: Credential
    assumed: AssumedAccess | None = None


async def public_caller(connection: Connection, _: BaseRouteHandler) -> None:
    """A guard of the public route; finds the function as well. What would be refused by memory is looked up."""
    name = connection.path_params["slug"]
    if not SLUG.fullmatch(name):
        raise not_found("function", name)
    _remove_user_header(connection)
    if (remembered := _remembered(connection, name)) is not None:
        with suppress(Problem):
            _admit(connection, name, remembered)
            return
    await look_up_caller(connection)


async def look_up_caller(connection: Connection) -> None:
    """Who calls and what, from the database. Raises Problem."""
    name = connection.path_params["slug"]
    function, credential = await _admitted(connection, access_of(connection), name)
    _admit(connection, name, PublicAccess(function, credential))


def _remembered(connection: Connection, name: str) -> PublicAccess | None:
    key = api_key(connection)
    found = None if key is None else access_of(connection).remembered(key, name)
    if key is None or found is None or found.function is None or found.function.auth not in KEY_SUFFICES:
        return None
    assumed = AssumedAccess(key_hash(key), found.function.stamp)
    return PublicAccess(found.function, Credential("api_key", found.key_id), assumed)


def _admit(connection: Connection, name: str, access: PublicAccess) -> None:
    """Raises Problem where the function's settings do not let the request pass."""
    function = access.function
    if project_of_host(connection) not in (None, function.project_id):
        raise not_found("function", name)
    if not function.enabled:
        raise function_disabled(function.slug)
    _require_foreign_page(connection)
    _require_method(connection, function)
    _refuse_websocket(connection)
    _require_origin(connection, function)
    connection.scope["auth"] = access


async def _admitted(connection: Connection, access: Access, name: str) -> tuple[PublicFunction, Credential]:
    """The function of this slug in the project of the credentials, or of this id, and the caller's credential."""
    by_id = None
    if (id := _uuid(name)) is not None:
        by_id = await access.function_by_id(id)
        if by_id is not None and by_id.auth == "none":
            return by_id, ANONYMOUS
    slug = name if by_id is None else by_id.slug
    key, token = api_key(connection), bearer(connection)
    if key is not None:
        function, key_id = await access.function_by_key(key, slug, client_of(connection))
        credential = Credential("api_key", key_id)
        takes, refused = KEY_SUFFICES, _needs_token
    elif token is not None:
        function, caller = await access.function_by_token(token, slug)
        invokes = RANKS[caller.role] >= RANKS["developer"]
        credential = Credential("member" if invokes else "viewer", caller.person)
        takes, refused = ("jwt", "none"), _needs_key
        _add_user_header(connection, caller.person)
    else:
        raise _needs_token() if by_id is not None and by_id.auth == "jwt" else _needs_key()
    if function is None or (by_id is not None and function.id != by_id.id):
        raise not_found("function", name)
    if function.auth not in takes:
        raise refused()
    return function, credential


def _needs_key() -> Problem:
    return unauthorized(
        "missing_credentials",
        "This function requires an API key.",
        "Send the header x-api-key: zb_…; a function with auth none is called by its id, without a key.",
        scheme="ApiKey",
    )


def _needs_token() -> Problem:
    return unauthorized(
        "missing_credentials",
        "This function requires the token of a member of its project.",
        "Send the header Authorization: Bearer <token>; POST /auth/login issues one.",
    )


def _remove_user_header(connection: Connection) -> None:
    """Only we say who calls."""
    _remove_header(connection, USER_HEADER)


def _add_user_header(connection: Connection, user_id: UUID) -> None:
    """The function learns who calls, and never gets the token: with it, it could act as that person."""
    _remove_header(connection, b"authorization")
    connection.scope["headers"] = [*connection.scope["headers"], (USER_HEADER, str(user_id).encode())]


def _remove_header(connection: Connection, unwanted: bytes) -> None:
    headers = connection.scope["headers"]
    connection.scope["headers"] = [(name, value) for name, value in headers if name.lower() != unwanted]


def _require_foreign_page(connection: Connection) -> None:
    """Pages of functions on a shared host are sandboxed, so their requests are of another origin. One of this origin is
    the platform's own, and must not take code from a function, whatever got into it."""
    headers = connection.headers
    own = headers.get("sec-fetch-site") == "same-origin" and headers.get("sec-fetch-dest") in PARTS_OF_PAGES
    if own and project_of_host(connection) is None:
        raise Problem(403, "part_of_own_page", "Pages of the platform do not take scripts or frames from functions.")


def _require_method(connection: Connection, function: PublicFunction) -> None:
    method: Any = connection.scope.get("method")
    if method in function.methods or (method == "HEAD" and "GET" in function.methods):
        return
    allowed = ", ".join(function.methods)
    raise Problem(
        405,
        "method_not_allowed",
        f"This function does not accept {method}; it accepts {allowed}.",
        headers={"Allow": allowed},
    )


def _refuse_websocket(connection: Connection) -> None:
    if connection.headers.get("upgrade", "").lower() == "websocket":
        raise Problem(
            501,
            "websockets_not_supported",
            "Functions answer HTTP requests only; they cannot accept a WebSocket.",
            "Use a streamed response, such as server-sent events.",
        )


def _require_origin(connection: Connection, function: PublicFunction) -> None:
    """A page of another origin is refused before anything runs: a browser would only hide the answer from it."""
    origin = connection.headers.get("origin")
    if ANY in function.cors_origins:
        return
    connection.scope[CORS_SCOPE] = ((b"vary", b"origin"),)  # type: ignore[literal-required]
    if origin is None or is_origin_of(origin, connection.headers.get("host", "")):
        return
    if origin.lower() not in function.cors_origins:
        raise Problem(403, "origin_not_allowed", "Pages from this origin may not call this function.")
    connection.scope[CORS_SCOPE] = (  # type: ignore[literal-required]
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-expose-headers", b"*"),
        (b"vary", b"origin"),
    )


def _uuid(name: str) -> UUID | None:
    try:
        return UUID(name)
    except ValueError:
        return None
