"""What PostgreSQL can store, and what its errors say about trying again."""

from __future__ import annotations

import psycopg
from psycopg_pool import PoolTimeout

from sql.errors import DomainError

DATABASE_ERRORS = (psycopg.Error, PoolTimeout, DomainError)
# Classes of SQLSTATE that blame the values sent: cardinality, data, constraints, limits of the program.
PERMANENT_CLASSES = ("21", "22", "23", "54")
# Those that blame the time or the place: connection, state of the server, login, rollback, resources, operator, system.
TRANSIENT_CLASSES = ("08", "25", "28", "40", "53", "57", "58")


def is_permanent(error: Exception) -> bool:
    """Whether the same values are refused again for certain, by the server or by the driver."""
    return isinstance(error, (UnicodeError, psycopg.DataError)) or _class_of(error) in PERMANENT_CLASSES


def is_transient(error: Exception) -> bool:
    """Whether the same values may be accepted later: also where the server did not even answer."""
    unanswered = isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError, OSError)) and not _class_of(error)
    return unanswered or _class_of(error) in TRANSIENT_CLASSES


def _class_of(error: Exception) -> str:
    """The class of the SQLSTATE; empty where there is none."""
    return (getattr(error, "sqlstate", None) or "")[:2]


def storable(text: str) -> str:
    """The text without what a PostgreSQL text or jsonb cannot hold: NUL and lone surrogates."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "\N{REPLACEMENT CHARACTER}")
