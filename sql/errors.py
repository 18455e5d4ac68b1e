"""The one place where SQLSTATEs become our exceptions.

DomainError        refused by a rule of the platform
├── Forbidden      ZM403  the role may not do this
├── NotFound       ZM404  what was named does not exist, or not for this caller; also 23503
├── Conflict       ZM409  a state or a unique name prevents it; also 23505, and ZM508 for calls nested too deeply
├── LeaseLost      ZM410  the listener's lease has run out
├── Outdated       ZM412  somebody else has changed it meanwhile
├── Invalid        ZM422  a value breaks a rule of the schema; also 23514, 23502 and class 22
└── Unavailable    08, 57, … and 25006: the database is unreachable or accepts no writes

Routines raise those of class ZM with zmesh.fail().
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors


class DomainError(Exception):
    """The database refused something by a rule of the platform.

    `code` is stable and machine-readable, `message` says what and why, `hint` how to fix it. `constraint` names the
    rule, `column` the field that is to blame; both are for programs.
    """

    code = "error"

    def __init__(self, message: str, hint: str = "", *, constraint: str = "", column: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.constraint = constraint
        self.column = column


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
    kind = _kind_of(error)
    if kind is None:
        return None
    message = error.diag.message_primary or str(error)
    if kind is Unavailable:
        return kind(message)
    constraint, column = error.diag.constraint_name or "", error.diag.column_name or ""
    return kind(message, error.diag.message_hint or "", constraint=constraint, column=column)


def _kind_of(error: psycopg.Error) -> type[DomainError] | None:
    own = _OWN.get(error.sqlstate or "")
    if own is not None:
        return own
    if isinstance(error, errors.UniqueViolation):
        return Conflict
    if isinstance(error, errors.ForeignKeyViolation):
        return NotFound
    if isinstance(error, (errors.CheckViolation, errors.NotNullViolation, psycopg.DataError)):
        return Invalid
    # A server that takes no writes is one that another takes over from, or whose disk is full.
    if isinstance(error, (psycopg.OperationalError, errors.ReadOnlySqlTransaction)):
        return Unavailable
    return None


@contextmanager
def translated() -> Iterator[None]:
    """Raises DomainError in place of the PostgreSQL errors that have a meaning here."""
    try:
        yield
    except psycopg.Error as error:
        ours = domain_error(error)
        if ours is None:
            raise
        raise ours from error
