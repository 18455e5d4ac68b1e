"""Sessions: begun by a password or an invitation, carried on by refresh tokens that are good once."""

from __future__ import annotations

from uuid import UUID

from api.auth.logins import Logins, check_new_password
from api.auth.models import Acceptance, Credentials, PasswordChange, ProjectToken, Refresh, Session
from api.auth.throttling import Throttle
from api.auth.tokens import Identity, Tokens, new_secret_token, token_hash
from api.database import Database
from api.http.problems import Problem, unauthorized
from sql import access, people
from sql.errors import Conflict, NotFound
from sql.people import Invited, Joined

REFRESH_PREFIX = "zr"
GUESSES_ALLOWED = 30


class Sessions:
    """Hands out tokens."""

    def __init__(self, database: Database, logins: Logins, tokens: Tokens) -> None:
        self._database = database
        self._logins = logins
        self._tokens = tokens
        self._guesses = Throttle(GUESSES_ALLOWED, "unknown tokens from your address")

    async def log_in(self, credentials: Credentials, client: str) -> Session:
        """A new session. Raises Problem 401, 403 or 429."""
        user = await self._logins.check(credentials.email, credentials.password, client)
        project_id = await self._project(user.id, credentials.project)
        return await self._start(user.id, project_id, client)

    async def change_password(self, change: PasswordChange, client: str) -> Session:
        """A new session, in place of all there were. Raises Problem 401, 403, 422 or 429."""
        check_new_password(change.new_password, "new_password")
        user = await self._logins.check(change.email, change.password, client)
        project_id = await self._project(user.id, change.project)  # first: a refusal must change nothing
        hash = await self._logins.hash(change.new_password)
        async with self._database.connection() as connection:
            await people.set_password(connection, user.id, hash)
        return await self._start(user.id, project_id, client)

    async def refresh(self, request: Refresh, client: str) -> Session:
        """The next tokens of a session. Raises Problem 401, 403 or 429."""
        self._guesses.check(client)
        hash, token = token_hash(request.refresh_token), new_secret_token(REFRESH_PREFIX)
        user_id = await self._database.read(lambda c: people.user_of_refresh_token(c, hash))
        if user_id is None:
            self._guesses.begin(client)
            raise unauthorized("invalid_refresh_token", "Unknown refresh token.", "Log in again.")
        project_id = await self._project(user_id, request.project)  # first: a refusal must not use the token up
        async with self._database.connection() as connection:
            done = await people.refresh_session(connection, hash, token_hash(token))
        if done.outcome != "refreshed":
            reason = " because this refresh token was used twice" if done.outcome == "reused" else ""
            raise unauthorized("session_ended", f"The session has ended{reason}.", "Log in again.")
        return self._session(Identity(user_id, project_id, done.session_id), token)

    async def switch(self, token: str, user_id: UUID, project: str) -> ProjectToken:
        """A token of the same session for another project. Raises Problem 401 or 403."""
        project_id = await self._project(user_id, project)
        switched, expires_at = self._tokens.for_project(token, project_id)
        return ProjectToken(token=switched, expires_at=expires_at, project_id=project_id)

    async def log_out(self, refresh_token: str) -> None:
        """End a session. That of an unknown token has ended already."""
        async with self._database.connection() as connection:
            await people.end_session(connection, token_hash(refresh_token))

    async def accept(self, acceptance: Acceptance, client: str) -> Session:
        """Become a member. Raises Problem 401, 404, 409, 422 or 429."""
        hash = token_hash(acceptance.token)
        self._guesses.check(client)
        invited = await self._database.read(lambda c: people.find_invited(c, hash))
        if invited is None:
            self._guesses.begin(client)
            raise _invitation_not_found()
        try:
            joined = await self._join(hash, invited, acceptance.password, client)
        except NotFound as error:
            raise _invitation_not_found() from error
        except Conflict as error:
            raise Problem(
                409, "conflict", "An account was created for this address meanwhile.", "Accept the invitation again."
            ) from error
        return await self._start(joined.user_id, joined.project_id, client)

    async def _join(self, hash: bytes, invited: Invited, password: str, client: str) -> Joined:
        password_hash = None
        if invited.user_id is None:
            check_new_password(password)
            password_hash = await self._logins.hash(password)
        else:
            await self._logins.check(invited.email, password, client)
        async with self._database.connection() as connection:
            return await people.accept_invitation(connection, hash, invited.user_id, password_hash)

    async def _project(self, user_id: UUID, name: str | None) -> UUID:
        projects = await self._database.read(lambda c: access.projects_of(c, user_id))
        for project in projects:
            if name in (None, project.slug, str(project.id)):
                return project.id
        raise Problem(403, "not_a_member", "You are not a member of that project.")

    async def _start(self, user_id: UUID, project_id: UUID, client: str) -> Session:
        token = new_secret_token(REFRESH_PREFIX)
        async with self._database.connection() as connection:
            session_id = await people.start_session(connection, user_id, client, token_hash(token))
        return self._session(Identity(user_id, project_id, session_id), token)

    def _session(self, identity: Identity, refresh_token: str) -> Session:
        token, expires_at = self._tokens.issue(identity)
        return Session(token=token, expires_at=expires_at, refresh_token=refresh_token, project_id=identity.project_id)


def _invitation_not_found() -> Problem:
    hint = "Ask an owner of the project for a new one."
    return Problem(404, "invitation_not_found", "Invitation not found or expired.", hint)
