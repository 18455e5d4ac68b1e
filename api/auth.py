"""Who calls: a person with a JWT, or a program with an API key. Guards run before a body is read."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import jwt
from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from api.batching import Batcher
from api.database import Database
from api.problems import Problem, unauthorized
from sql import access
from sql.access import KeyedFunction, Membership, PublicFunction
from sql.errors import DomainError

KEY_PREFIX = "zb_"
SLUG = re.compile(r"[a-z0-9-]{1,100}")
TOKEN_LIFETIME = timedelta(hours=12)
# Another host's clock may be a little ahead, and the audience is nobody's business here.
OPTIONS: jwt.types.Options = {"require": ["exp", "sub"], "verify_aud": False, "verify_iat": False}
RANKS = {"viewer": 1, "developer": 2, "owner": 3}
USE_IS_NOTED_EVERY = timedelta(minutes=1)

Connection = ASGIConnection[Any, Any, Any, Any]
Guard = Callable[[Connection, BaseRouteHandler], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, in which project. A program has no user."""

    project_id: UUID
    role: str
    user_id: UUID | None = None


class Tokens:
    """Dashboard JWTs: HS256, with the person (`sub`) and the project (`project`) they are for."""

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def issue(self, user_id: UUID, project_id: UUID) -> tuple[str, datetime]:
        """A token and when it expires."""
        now = datetime.now(UTC).replace(microsecond=0)
        expires_at = now + TOKEN_LIFETIME
        claims = {"sub": str(user_id), "project": str(project_id), "iat": now, "exp": expires_at}
        return jwt.encode(claims, self._secret, algorithm="HS256"), expires_at

    def read(self, token: str) -> tuple[UUID, UUID]:
        """The person and the project of a token. Raises Problem 401."""
        try:
            claims = jwt.decode(token, self._secret, algorithms=["HS256"], options=OPTIONS)
            return UUID(claims["sub"]), UUID(claims["project"])
        except jwt.ExpiredSignatureError as error:
            raise unauthorized("token_expired", "The token has expired.", "Log in again.") from error
        except (jwt.InvalidSignatureError, jwt.InvalidAlgorithmError) as error:
            raise unauthorized("token_untrusted", "The token was not signed by this server.") from error
        except (jwt.InvalidTokenError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise unauthorized(
                "token_malformed", "The token is malformed or lacks a claim.", "It needs sub, project and exp."
            ) from error


class Access:
    """Looks up what credentials stand for, at each request, so that a change counts at once on every replica."""

    def __init__(self, database: Database, tokens: Tokens) -> None:
        self.tokens = tokens
        self._database = database
        self._members: Batcher[tuple[UUID, UUID], Membership] = Batcher(self._read_members)
        self._keys: Batcher[tuple[bytes, str], KeyedFunction] = Batcher(self._read_keys)
        self._functions: Batcher[tuple[UUID | None, str], PublicFunction | None] = Batcher(self._read_functions)
        self._tasks: set[asyncio.Task[None]] = set()

    async def person(self, token: str) -> Caller:
        """Raises Problem 401 for a bad token, 403 for somebody who is no member any more."""
        user_id, project_id = self.tokens.read(token)
        member = await self._members.ask((user_id, project_id))
        if member.role is None:
            raise Problem(403, "not_a_member", "The token's user is not a member of the token's project.")
        return Caller(project_id, member.role, user_id)

    async def program(self, key: str) -> Caller:
        """The caller an API key stands for, with the rights of reading. Raises Problem 401."""
        found = await self._keyed(key, "")
        assert found.project_id is not None
        return Caller(found.project_id, "viewer")

    async def function_by_key(self, key: str, slug: str) -> PublicFunction | None:
        """The function of this slug in the project of an API key. Raises Problem 401."""
        return (await self._keyed(key, slug)).function

    async def function_by_token(self, token: str, slug: str) -> tuple[PublicFunction | None, UUID]:
        """The function of this slug in the project of a person's token, and who that is. Raises Problem 401 or 403."""
        caller = await self.person(token)
        assert caller.user_id is not None
        return await self._functions.ask((caller.project_id, slug)), caller.user_id

    async def function_by_id(self, id: UUID) -> PublicFunction | None:
        """The function of this id, in whatever project."""
        return await self._functions.ask((None, str(id)))

    async def _keyed(self, key: str, slug: str) -> KeyedFunction:
        found = await self._keys.ask((access.key_hash(key), slug))
        if found.key_id is None:
            raise unauthorized("invalid_api_key", "The API key is not known here.", scheme="ApiKey")
        if found.revoked:
            raise unauthorized("api_key_revoked", "The API key has been revoked.", scheme="ApiKey")
        if found.last_used_at is None or datetime.now(UTC) - found.last_used_at > USE_IS_NOTED_EVERY:
            self._note_use(found.key_id)
        return found

    def _note_use(self, key_id: UUID) -> None:
        if self._tasks:
            return  # one note at a time: the next request brings the next
        task = asyncio.create_task(self._write_use(key_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _write_use(self, key_id: UUID) -> None:
        with contextlib.suppress(DomainError):
            await self._database.read(lambda connection: access.key_was_used(connection, key_id))

    async def _read_members(self, wanted: list[tuple[UUID, UUID]]) -> Sequence[Membership]:
        return await self._database.read(lambda connection: access.memberships(connection, wanted))

    async def _read_keys(self, wanted: list[tuple[bytes, str]]) -> Sequence[KeyedFunction]:
        return await self._database.read(lambda connection: access.keyed_functions(connection, wanted))

    async def _read_functions(self, wanted: list[tuple[UUID | None, str]]) -> Sequence[PublicFunction | None]:
        return await self._database.read(lambda connection: access.public_functions(connection, wanted))


def function_disabled(slug: str) -> Problem:
    """409 for a function that is switched off."""
    return Problem(409, "function_disabled", f'Function "{slug}" is disabled.', "Enable it first.")


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
    return token if token is not None and token.startswith(KEY_PREFIX) else None


def role(least: str) -> Guard:
    """A guard that lets people pass who have this role or a higher one."""

    async def guard(connection: Connection, _: BaseRouteHandler) -> None:
        token = bearer(connection)
        if token is None or token.startswith(KEY_PREFIX):
            raise unauthorized(
                "missing_credentials",
                "This endpoint needs a dashboard token.",
                "Send the header Authorization: Bearer <token>; POST /auth/login gives one.",
            )
        caller = await access_of(connection).person(token)
        _demand(caller, least)
        connection.scope["user"] = caller

    return guard


async def person_or_key(connection: Connection, _: BaseRouteHandler) -> None:
    """A guard for what both a person and a program may read."""
    key = api_key(connection)
    if key is None:
        await role("viewer")(connection, _)
    else:
        connection.scope["user"] = await access_of(connection).program(key)


def _demand(caller: Caller, least: str) -> None:
    if RANKS[caller.role] < RANKS[least]:
        raise Problem(403, "forbidden", f"This needs the role {least}; yours is {caller.role}.")


def access_of(connection: Connection) -> Access:
    """The application's own."""
    found: Access = connection.app.state.access
    return found
