"""Authentication of callers: users by JWT, programs by API key. Guards run before a body is read."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.handlers import BaseRouteHandler

from api.auth.browsers import no_session, session_ended
from api.auth.cookies import in_console, project_of, session_token
from api.auth.throttling import Throttle
from api.auth.tokens import Identity, Tokens, token_hash
from api.batching import Batcher
from api.database import Database
from api.http.problems import Problem, unauthorized
from sql import access, browsers
from sql.access import KeyedFunction, Membership, PublicFunction
from sql.browsers import BrowserCaller
from sql.errors import DomainError
from support.api_keys import is_api_key, key_hash

SLUG = re.compile(r"[a-z0-9-]{1,100}")
DEPLOY_KEYS = "deploy_keys"  # in the opt of handlers that a deploy key may call as a developer does
RANKS = {"viewer": 1, "developer": 2, "owner": 3}
GUESSES_ALLOWED = 60
KEYS_REMEMBERED = 10_000
FUNCTIONS_REMEMBERED = 10_000  # pairs of a key and what it calls
USE_IS_NOTED_EVERY = timedelta(minutes=1)

Connection = ASGIConnection[Any, Any, Any, Any]
Guard = Callable[[Connection, BaseRouteHandler], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, in which project. A program has an API key in place of a user; `functions` are the ones the key is for,
    None for all."""

    project_id: UUID
    role: str
    user_id: UUID | None = None
    functions: frozenset[UUID] | None = None
    key_id: UUID | None = None

    @property
    def id(self) -> UUID:
        """The user's or the API key's."""
        id = self.user_id or self.key_id
        assert id is not None
        return id

    @property
    def person(self) -> UUID:
        """The user's id, for callers that passed the guard `role`."""
        assert self.user_id is not None
        return self.user_id

    @property
    def named_functions(self) -> list[UUID] | None:
        """The functions that the caller's key is for, as queries take them; None for all."""
        return None if self.functions is None else list(self.functions)

    def may_see(self, function_id: UUID) -> bool:
        """Whether the caller's key, if it is one, is for this function."""
        return self.functions is None or function_id in self.functions

    def require_all_functions(self) -> None:
        """Raises Problem 403 for a key that is limited to named functions."""
        if self.functions is not None:
            raise Problem(
                403,
                "key_limited",
                "This API key is limited to named functions.",
                "Use a key for all functions of the project: zmesh keys create NAME --scope deploy.",
            )


CallerRequest = Request[Caller, Any, State]


class Access:
    """Resolves credentials on each request, so that a change applies on every replica at once.

    What an API key may call is remembered as well, to spare invocations the look-up: nobody is refused by that, and
    the insert admits nobody without checking it (sql/invocations.py, AssumedAccess).
    """

    def __init__(self, database: Database, tokens: Tokens) -> None:
        self.tokens = tokens
        self._database = database
        self._members: Batcher[Identity, Membership] = Batcher(self._read_members)
        self._browsers: Batcher[tuple[bytes, str | None], BrowserCaller] = Batcher(self._read_browsers)
        self._keys: Batcher[tuple[bytes, str], KeyedFunction] = Batcher(self._read_keys)
        self._functions: Batcher[tuple[UUID | None, str], PublicFunction | None] = Batcher(self._read_functions)
        self._guesses = Throttle(GUESSES_ALLOWED, "unknown API keys from your address")
        self._good_keys: OrderedDict[bytes, None] = OrderedDict()
        self._remembered: OrderedDict[tuple[bytes, str], KeyedFunction] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()

    async def person(self, token: str) -> Caller:
        """The caller of a user's token. Raises Problem 401, or 403 if the user is not a member any more."""
        identity = self.tokens.read(token)
        member = await self._members.ask(identity)
        if member.session_ended:
            raise unauthorized("session_ended", "The session of this token has ended.", "Log in again.")
        if member.role is None:
            raise Problem(403, "not_a_member", "The token's user is not a member of the token's project.")
        return Caller(identity.project_id, member.role, identity.user_id)

    async def browser(self, token: str, project: str | None) -> Caller:
        """The caller of a session cookie, in the project of this id or slug, or in their oldest. Raises Problem 401, or
        403 if the user is not a member of it."""
        named = project if project is None or "\x00" not in project else ""
        found = await self._browsers.ask((token_hash(token), named))
        if found.user_id is None:
            raise session_ended()
        if found.project_id is None or found.role is None:
            raise Problem(403, "not_a_member", "You are not a member of that project.")
        return Caller(found.project_id, found.role, found.user_id)

    async def program(self, key: str, client: str) -> Caller:
        """The caller of an API key that invokes, with read access. Raises Problem 401."""
        return _program("viewer", await self._keyed(key, "", client, scope="invoke"))

    async def deployer(self, key: str, client: str) -> Caller:
        """The caller of a deploy key, with a developer's access to its functions. Raises Problem 401."""
        return _program("developer", await self._keyed(key, "", client, scope="deploy"))

    async def any_program(self, key: str, client: str) -> UUID:
        """The project of an API key of any scope. Raises Problem 401 if the key is not valid."""
        found = await self._keyed(key, "", client, scope=None)
        assert found.project_id is not None
        return found.project_id

    async def function_by_key(self, key: str, slug: str, client: str) -> tuple[PublicFunction | None, UUID | None]:
        """The function with this slug in the project of an API key, and the key's id. Raises Problem 401."""
        found = await self._keyed(key, slug, client, scope="invoke")
        self._remember_function(key_hash(key), slug, found)
        return found.function, found.key_id

    def remembered(self, key: str, slug: str) -> KeyedFunction | None:
        """What an API key has last been found to call by this slug; None where it has to be looked up."""
        found = self._remembered.get((key_hash(key), slug))
        if found is None or _is_use_to_be_noted(found):
            return None
        return found

    async def function_by_token(self, token: str, slug: str) -> tuple[PublicFunction | None, Caller]:
        """The function with this slug in the project of a user's token, and the caller. Raises Problem 401 or 403."""
        caller = await self.person(token)
        return await self._functions.ask((caller.project_id, slug)), caller

    async def function_by_id(self, id: UUID) -> PublicFunction | None:
        """The function of this id, in whatever project."""
        return await self._functions.ask((None, str(id)))

    async def _keyed(self, key: str, slug: str, client: str, *, scope: str | None) -> KeyedFunction:
        hash = key_hash(key)
        known = hash in self._good_keys  # these are looked up as well, but not kept out by others at their address
        if not known:
            self._guesses.check(client)
        found = await self._keys.ask((hash, slug))
        if found.key_id is None:
            self._guesses.begin(client)
            raise unauthorized("invalid_api_key", "Unknown API key.", scheme="ApiKey")
        if found.revoked:
            raise unauthorized("api_key_revoked", "The API key has been revoked.", scheme="ApiKey")
        if found.expired:
            raise unauthorized("api_key_expired", "The API key has expired.", scheme="ApiKey")
        if not known:
            self._remember(hash)
        if _is_use_to_be_noted(found):
            self._note_use(found.key_id)
        if scope is not None and found.scope != scope:
            raise _wrong_scope(scope)
        return found

    def _remember_function(self, hash: bytes, slug: str, found: KeyedFunction) -> None:
        if found.function is None:
            self._remembered.pop((hash, slug), None)
            return
        self._remembered[hash, slug] = found
        self._remembered.move_to_end((hash, slug))
        if len(self._remembered) > FUNCTIONS_REMEMBERED:
            self._remembered.popitem(last=False)

    def _remember(self, hash: bytes) -> None:
        self._good_keys[hash] = None
        if len(self._good_keys) > KEYS_REMEMBERED:
            self._good_keys.popitem(last=False)

    def _note_use(self, key_id: UUID) -> None:
        if self._tasks:
            return  # one note at a time: the next request brings the next
        task = asyncio.create_task(self._write_use(key_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _write_use(self, key_id: UUID) -> None:
        with contextlib.suppress(DomainError):
            await self._database.run_idempotent(lambda connection: access.key_was_used(connection, key_id))

    async def _read_members(self, wanted: list[Identity]) -> Sequence[Membership]:
        asked = [(identity.user_id, identity.project_id, identity.session_id) for identity in wanted]
        return await self._database.read(lambda connection: access.memberships(connection, asked))

    async def _read_browsers(self, wanted: list[tuple[bytes, str | None]]) -> Sequence[BrowserCaller]:
        return await self._database.read(lambda connection: browsers.callers(connection, wanted))

    async def _read_keys(self, wanted: list[tuple[bytes, str]]) -> Sequence[KeyedFunction]:
        once = list(dict.fromkeys(wanted))  # callers at the same time often send the same key to the same function
        found = await self._database.read(lambda connection: access.keyed_functions(connection, once))
        answers = dict(zip(once, found, strict=True))
        return [answers[one] for one in wanted]

    async def _read_functions(self, wanted: list[tuple[UUID | None, str]]) -> Sequence[PublicFunction | None]:
        return await self._database.read(lambda connection: access.public_functions(connection, wanted))


def _program(role: str, found: KeyedFunction) -> Caller:
    assert found.project_id is not None
    functions = None if found.functions is None else frozenset(found.functions)
    return Caller(found.project_id, role, functions=functions, key_id=found.key_id)


def _wrong_scope(required: str) -> Problem:
    if required == "invoke":
        detail, hint = "Deploy keys do not invoke functions.", "Use a key with the scope invoke."
    else:
        detail = "This endpoint requires the token of a user, not an API key that only invokes."
        hint = "Log in; or use a deploy key, which an owner creates: zmesh keys create NAME --scope deploy."
    return unauthorized("wrong_key_scope", detail, hint, scheme="ApiKey")


def _is_use_to_be_noted(found: KeyedFunction) -> bool:
    return found.last_used_at is None or datetime.now(UTC) - found.last_used_at > USE_IS_NOTED_EVERY


def function_disabled(slug: str) -> Problem:
    """409 for a function that is switched off."""
    return Problem(409, "function_disabled", f'Function "{slug}" is disabled.', "Enable it first.")


def client_of(connection: Connection) -> str:
    """The client address of a request."""
    return connection.client.host if connection.client else ""


def bearer(connection: Connection) -> str | None:
    """The token of the Authorization header."""
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    return token.strip() or None if scheme.lower() == "bearer" else None


def api_key(connection: Connection) -> str | None:
    """The API key of x-api-key, or of an Authorization header that carries one."""
    given = connection.headers.get("x-api-key")
    if given:
        return given
    token = bearer(connection)
    return token if token is not None and is_api_key(token) else None


def role(least: str) -> Guard:
    """A guard that requires a user with this role or a higher one; or a deploy key, where the handler says so."""

    async def guard(connection: Connection, handler: BaseRouteHandler) -> None:
        key = _key_without_token(connection) if DEPLOY_KEYS in handler.opt else None
        if key is None:
            caller = await _person(connection)
        else:
            caller = await access_of(connection).deployer(key, client_of(connection))
        require_role(caller.role, least)
        connection.scope["user"] = caller

    return guard


def _key_without_token(connection: Connection) -> str | None:
    """The API key of a request that has neither a user's token nor, as one of the console, a session."""
    token = bearer(connection)
    if in_console(connection) or (token is not None and not is_api_key(token)):
        return None
    return api_key(connection)


async def _person(connection: Connection) -> Caller:
    """The user of a token, or of the session cookie below /console/api. Raises Problem 401 or 403."""
    token = bearer(connection)
    if token is None and in_console(connection):
        cookie = session_token(connection)
        if cookie is None:
            raise no_session()
        return await access_of(connection).browser(cookie, project_of(connection))
    if token is None or is_api_key(token):
        raise unauthorized(
            "missing_credentials",
            "This endpoint requires the token of a user" + (", not an API key." if api_key(connection) else "."),
            "Send the header Authorization: Bearer <token>; POST /auth/login and `zmesh login` issue one.",
        )
    return await access_of(connection).person(token)


async def check_again(connection: Connection) -> None:
    """For responses that last: raises Problem where the user of the request is no longer a member, or signed out."""
    await _person(connection)


async def person_or_key(connection: Connection, _: BaseRouteHandler) -> None:
    """A guard for what both a user and an API key may read."""
    key = api_key(connection)
    if key is None:
        await role("viewer")(connection, _)
    else:
        connection.scope["user"] = await access_of(connection).program(key, client_of(connection))


def require_role(role: str, least: str) -> None:
    """Raises Problem 403 for less than this role."""
    if RANKS[role] < RANKS[least]:
        raise Problem(403, "forbidden", f"This requires the role {least}; yours is {role}.")


def access_of(connection: Connection) -> Access:
    """The application's own."""
    found: Access = connection.app.state.access
    return found
