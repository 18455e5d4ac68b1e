"""The one place where SQLSTATEs become exceptions of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors


class DomainError(Exception):
    """The database refused something for a reason of ours.

    `code` is stable and machine-readable, `message` says what and why, `hint` how to fix it.
    """

    code = "error"

    def __init__(self, message: str, hint: str = "", *, constraint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.constraint = constraint


class Forbidden(DomainError):
    """The role may not do this."""

    code = "forbidden"


class NotFound(DomainError):
    """What was named does not exist, or not for this caller."""

    code = "not_found"


class Conflict(DomainError):
    """The state or a unique name is in the way."""

    code = "conflict"


class Outdated(DomainError):
    """Somebody else has changed it meanwhile."""

    code = "changed_meanwhile"


class LeaseLost(DomainError):
    """The listener's lease has run out: its runs belong to others now."""

    code = "lease_lost"


class Invalid(DomainError):
    """A value breaks a rule of the schema; `constraint` names the rule."""

    code = "invalid"


class Unavailable(DomainError):
    """The database cannot be reached or is going down."""

    code = "unavailable"


_OWN: dict[str, type[DomainError]] = {
    "ZM403": Forbidden,
    "ZM404": NotFound,
    "ZM409": Conflict,
    "ZM410": LeaseLost,
    "ZM412": Outdated,
    "ZM422": Invalid,
    "ZM508": Conflict,
}


def domain_error(error: psycopg.Error) -> DomainError | None:
    """What an error of PostgreSQL means for us; None where it is not foreseen."""
    message = error.diag.message_primary or str(error)
    hint = error.diag.message_hint or ""
    constraint = error.diag.constraint_name
    own = _OWN.get(error.sqlstate or "")
    if own is not None:
        return own(message, hint, constraint=constraint)
    if isinstance(error, errors.UniqueViolation):
        return Conflict(message, hint, constraint=constraint)
    if isinstance(error, errors.ForeignKeyViolation):
        return NotFound(message, hint, constraint=constraint)
    if isinstance(error, (errors.CheckViolation, errors.NotNullViolation, psycopg.DataError)):
        return Invalid(message, hint, constraint=constraint)
    # A server that takes no writes is one that another takes over from, or whose disk is full.
    if isinstance(error, (psycopg.OperationalError, errors.ReadOnlySqlTransaction)):
        return Unavailable(message)
    return None


@contextmanager
def translated() -> Iterator[None]:
    """Raises DomainError in place of the PostgreSQL errors that have a meaning here."""
    try:
        yield
    except psycopg.Error as error:
        meant = domain_error(error)
        if meant is None:
            raise
        raise meant from error
