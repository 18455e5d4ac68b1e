"""What an error of the database says about an outcome that was to be written."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import errors
from psycopg_pool import PoolTimeout

from listener.postgres import is_permanent, is_transient


@pytest.mark.parametrize(
    "error",
    [
        PoolTimeout("no connection"),
        psycopg.OperationalError("the connection is lost"),
        errors.AdminShutdown("going down"),
        errors.DiskFull("no space"),
        errors.DeadlockDetected("deadlock"),
        errors.ReadOnlySqlTransaction("a standby"),
        errors.InvalidPassword("being changed"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_transient_error_is_waited_out(error: Exception) -> None:
    assert is_transient(error)
    assert not is_permanent(error)


@pytest.mark.parametrize(
    "error",
    [
        UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"),
        psycopg.DataError("the driver's own: a text with NUL"),
        errors.UntranslatableCharacter("NUL"),
        errors.CheckViolation("too large"),
        errors.ProgramLimitExceeded("too deep"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_values_that_are_refused_for_certain_are_not_sent_again(error: Exception) -> None:
    assert is_permanent(error)
    assert not is_transient(error)


def test_an_unforeseen_error_is_neither_transient_nor_permanent() -> None:
    error = errors.UndefinedFunction("in the middle of an upgrade")
    assert not is_transient(error)
    assert not is_permanent(error)
