"""What an error of the database says about a result that was to be written."""

from __future__ import annotations

import psycopg
import pytest
from psycopg import errors
from psycopg_pool import PoolTimeout

from listener.endings import blames_values, is_passing


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
def test_what_passes_is_waited_for(error: Exception) -> None:
    assert is_passing(error)
    assert not blames_values(error)


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
def test_what_is_surely_refused_again_is_not(error: Exception) -> None:
    assert blames_values(error)
    assert not is_passing(error)


def test_of_what_nobody_foresaw_neither_is_said() -> None:
    error = errors.UndefinedFunction("in the middle of an upgrade")
    assert not is_passing(error)
    assert not blames_values(error)
