"""Passwords: checked off the event loop, in about the same time whether the person exists or not, and not too often."""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict, deque

import argon2

from api.database import Database
from api.problems import Problem, invalid
from sql import access
from sql.access import User

FAILURES_ALLOWED = 8
WINDOW_SECONDS = 60.0
REMEMBERED = 10_000
CHECKS_AT_ONCE = 2
SHORTEST_PASSWORD = 12


class Throttle:
    """Counts failures by name, in this process; more than enough of them have to wait."""

    def __init__(self) -> None:
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def demand(self, name: str) -> None:
        """Raises Problem 429 after too many failures."""
        times = self._failures.get(name)
        if times is None:
            return
        now = time.monotonic()
        while times and now - times[0] > WINDOW_SECONDS:
            times.popleft()
        if len(times) >= FAILURES_ALLOWED:
            wait = math.ceil(times[0] + WINDOW_SECONDS - now)
            raise Problem(
                429,
                "too_many_attempts",
                "Too many failed logins.",
                f"Try again in {wait} seconds.",
                headers={"Retry-After": str(wait)},
            )

    def failed(self, name: str) -> None:
        times = self._failures.setdefault(name, deque(maxlen=FAILURES_ALLOWED))
        times.append(time.monotonic())
        self._failures.move_to_end(name)
        while len(self._failures) > REMEMBERED:
            self._failures.popitem(last=False)


class Logins:
    """Checks e-mail address and password."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._hasher = argon2.PasswordHasher()
        self._nobodys_hash = self._hasher.hash("nobody has this password")
        self._throttle = Throttle()
        self._slots = asyncio.Semaphore(CHECKS_AT_ONCE)

    async def check(self, email: str, password: str, client: str) -> User:
        """The person. Raises Problem 401 or 429."""
        names = (f"email {email.lower()}", f"client {client}")
        for name in names:
            self._throttle.demand(name)
        user = await self._database.read(lambda connection: access.find_user(connection, email))
        stored = self._nobodys_hash if user is None else user.password_hash
        async with self._slots:
            fits = await asyncio.to_thread(self._fits, stored, password)
        if user is None or not fits:
            for name in names:
                self._throttle.failed(name)
            raise Problem(401, "invalid_login", "E-mail address or password is wrong.")
        return user

    async def hash(self, password: str) -> str:
        """What is stored of a password."""
        async with self._slots:
            return await asyncio.to_thread(self._hasher.hash, password)

    def _fits(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, password)
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return False


def check_new_password(password: str) -> None:
    """Raises Problem 422 for one that is too easily guessed."""
    if len(password) < SHORTEST_PASSWORD:
        raise invalid("password", f"has to have at least {SHORTEST_PASSWORD} characters")
