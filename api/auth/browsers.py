"""Signing browsers in to the console, and out of it."""

from __future__ import annotations

from datetime import datetime

from api.auth.logins import Logins
from api.auth.throttling import Throttle
from api.auth.tokens import Identity, new_secret_token, token_hash
from api.database import Database
from api.http.problems import unauthorized
from sql import access, browsers
from sql.access import ProjectOfUser
from sql.browsers import SignedIn

COOKIE_PREFIX = "zc"
LINK_PREFIX = "zl"
GUESSES_ALLOWED = 30


class BrowserSessions:
    """Cookies in place of tokens: a script of a page cannot read them."""

    def __init__(self, database: Database, logins: Logins) -> None:
        self._database = database
        self._logins = logins
        self._guesses = Throttle(GUESSES_ALLOWED, "unknown sign-in links from your address")

    async def sign_in(self, email: str, password: str, client: str) -> str:
        """The token of a new session's cookie. Raises Problem 401 or 429."""
        user = await self._logins.check(email, password, client)
        token = new_secret_token(COOKIE_PREFIX)
        async with self._database.connection() as connection:
            await browsers.start_session(connection, user.id, client, token_hash(token))
        return token

    async def sign_in_by_link(self, link: str, client: str) -> str:
        """The same, by a link that works once. Raises Problem 401 or 429."""
        self._guesses.begin(client)
        token = new_secret_token(COOKIE_PREFIX)
        async with self._database.connection() as connection:
            user_id = await browsers.use_link(connection, token_hash(link), client, token_hash(token))
        if user_id is None:
            raise unauthorized(
                "invalid_link",
                "The sign-in link is unknown, used or expired.",
                "Run `zmesh console` for a new one, or sign in with your password.",
            )
        self._guesses.succeeded(client)
        return token

    async def sign_out(self, token: str) -> None:
        """End the session of a cookie, if there is one."""
        async with self._database.connection() as connection:
            await browsers.end_session(connection, token_hash(token))

    async def person(self, token: str) -> tuple[SignedIn, list[ProjectOfUser]]:
        """Who is signed in, and their projects. Raises Problem 401."""
        found = await self._database.read(lambda c: browsers.find_signed_in(c, token_hash(token)))
        if found is None:
            raise session_ended()
        return found, await self._database.read(lambda c: access.projects_of(c, found.user_id))

    async def create_link(self, identity: Identity) -> tuple[str, datetime]:
        """The token of a sign-in link for a person, and when it expires."""
        token = new_secret_token(LINK_PREFIX)
        async with self._database.connection() as connection:
            expires_at = await browsers.create_link(
                connection, identity.user_id, identity.session_id, token_hash(token)
            )
        return token, expires_at


def session_ended() -> Exception:
    """401 for a cookie whose session has ended or never was."""
    return unauthorized("session_ended", "The session of this browser has ended.", "Sign in again.")


def no_session() -> Exception:
    """401 for a request without a cookie."""
    return unauthorized("missing_credentials", "This browser is not signed in.", "Sign in with POST /console/session.")
