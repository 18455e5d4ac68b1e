"""Dashboard JWTs, and the random tokens that are stored as hashes."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import jwt

from api.http.problems import Problem, unauthorized

LIFETIME = timedelta(minutes=15)
# Another host's clock may be a little ahead, and the audience is nobody's business here.
OPTIONS: jwt.types.Options = {"require": ["exp", "sub"], "verify_aud": False, "verify_iat": False}


@dataclass(frozen=True, slots=True)
class Identity:
    """User, project and session of a token. A token that was not issued by a login has no session."""

    user_id: UUID
    project_id: UUID
    session_id: UUID | None = None


class Tokens:
    """HS256, with the person (`sub`), the project (`project`) and the session (`sid`) they are for."""

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def issue(self, identity: Identity, lifetime: timedelta = LIFETIME) -> tuple[str, datetime]:
        """A token and when it expires."""
        now = datetime.now(UTC).replace(microsecond=0)
        expires_at = now + lifetime
        claims = {"sub": str(identity.user_id), "project": str(identity.project_id), "iat": now, "exp": expires_at}
        if identity.session_id is not None:
            claims["sid"] = str(identity.session_id)
        return jwt.encode(claims, self._secret, algorithm="HS256"), expires_at

    def for_project(self, token: str, project_id: UUID) -> tuple[str, datetime]:
        """A token of the same person and session for another project, until `token` expires. Raises Problem 401."""
        claims = {**self._claims(token), "project": str(project_id)}
        return jwt.encode(claims, self._secret, algorithm="HS256"), datetime.fromtimestamp(claims["exp"], UTC)

    def read(self, token: str) -> Identity:
        """The identity in a token. Raises Problem 401."""
        claims = self._claims(token)
        try:
            session = claims.get("sid")
            return Identity(UUID(claims["sub"]), UUID(claims["project"]), None if session is None else UUID(session))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _malformed() from error

    def _claims(self, token: str) -> dict[str, Any]:
        try:
            claims: dict[str, Any] = jwt.decode(token, self._secret, algorithms=["HS256"], options=OPTIONS)
            return claims
        except jwt.ExpiredSignatureError as error:
            raise unauthorized("token_expired", "The token has expired.", "Refresh it, or log in again.") from error
        except (jwt.InvalidSignatureError, jwt.InvalidAlgorithmError) as error:
            raise unauthorized("token_untrusted", "The token was not signed by this server.") from error
        except (jwt.InvalidTokenError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise _malformed() from error


def _malformed() -> Problem:
    return unauthorized(
        "token_malformed", "The token is malformed or lacks a claim.", "Required claims: sub, project, exp."
    )


def new_secret_token(prefix: str) -> str:
    """256 random bits, with a prefix that says what they are for."""
    return f"{prefix}_{secrets.token_urlsafe(32)}"


def token_hash(token: str) -> bytes:
    """What is stored of a random token. Looked up by equality, which reveals nothing: it has 256 random bits."""
    return hashlib.sha256(token.encode()).digest()
