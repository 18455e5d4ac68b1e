"""Passwords: checked off the event loop, in about the same time whether the person exists or not, and not too often."""

from __future__ import annotations

import argon2

from api.auth.throttling import Throttle
from api.database import Database
from api.http.problems import Problem, invalid
from sql import access
from sql.access import User
from support.executors import Executor

FAILURES_OF_ACCOUNT = 8
FAILURES_OF_CLIENT = 30
CHECKS_AT_ONCE = 2
MOST_WAITING = 64
SHORTEST_PASSWORD = 12


class Logins:
    """Checks e-mail address and password."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._hasher = argon2.PasswordHasher()
        self._nobodys_hash = self._hasher.hash("nobody has this password")
        self._clients = Throttle(FAILURES_OF_CLIENT, "failed logins from your address")
        self._accounts = Throttle(FAILURES_OF_ACCOUNT, "failed logins to this account")
        self._checks = Executor("passwords", CHECKS_AT_ONCE, MOST_WAITING)

    async def check(self, email: str, password: str, client: str) -> User:
        """The person. Raises Problem 401 or 429, Busy where too many log in."""
        self._clients.check(client)
        user = await self._database.read(lambda connection: access.find_user(connection, email, client))
        # Who guesses from elsewhere does not keep people out where they have logged in of late.
        account = email.lower() if user is None or not user.knows_client else f"{email.lower()} at {client}"
        self._clients.begin(client)
        self._accounts.begin(account)
        stored = self._nobodys_hash if user is None else user.password_hash
        fits = await self._checks.run(self._fits, stored, password)
        if user is None or not fits:
            raise Problem(401, "invalid_login", "Wrong e-mail address or password.")
        self._clients.succeeded(client)
        self._accounts.succeeded(account)
        return user

    async def hash(self, password: str) -> str:
        """What is stored of a password."""
        return await self._checks.run(self._hasher.hash, password)

    def _fits(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, password)
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return False


def check_new_password(password: str, field: str = "password") -> None:
    """Raises Problem 422 for a password that is too short."""
    if len(password) < SHORTEST_PASSWORD:
        raise invalid(field, f"must have at least {SHORTEST_PASSWORD} characters")
