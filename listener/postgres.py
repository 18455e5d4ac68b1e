"""What PostgreSQL can store, and whether its errors allow a retry."""

from __future__ import annotations

import psycopg
from psycopg_pool import PoolTimeout

from sql.errors import DomainError

DATABASE_ERRORS = (psycopg.Error, PoolTimeout, DomainError)
# SQLSTATE classes that blame the values: cardinality, data, constraints, program limits.
PERMANENT_CLASSES = ("21", "22", "23", "54")
# SQLSTATE classes that blame the situation: connection, server state, login, rollback, resources, operator, system.
TRANSIENT_CLASSES = ("08", "25", "28", "40", "53", "57", "58")


def is_permanent(error: Exception) -> bool:
    """Whether server or driver would certainly refuse the same values again."""
    return isinstance(error, (UnicodeError, psycopg.DataError)) or _class_of(error) in PERMANENT_CLASSES


def is_transient(error: Exception) -> bool:
    """Whether the same values may be accepted later; also true if the server did not answer at all."""
    unanswered = isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError, OSError)) and not _class_of(error)
    return unanswered or _class_of(error) in TRANSIENT_CLASSES


def _class_of(error: Exception) -> str:
    """The class of the SQLSTATE; empty if there is none."""
    return (getattr(error, "sqlstate", None) or "")[:2]


def storable(text: str) -> str:
    """The text without the characters that PostgreSQL's text and jsonb cannot hold: NUL and lone surrogates."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "\N{REPLACEMENT CHARACTER}")
