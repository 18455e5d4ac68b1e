"""Errors of the platform: raised in one way, distinguished by code, constraint and column, never by their text."""

from __future__ import annotations

import re
from typing import Any

import psycopg
import pytest

from sql import errors
from sql.errors import Conflict, DomainError, Forbidden, Invalid, LeaseLost, NotFound, Outdated, domain_error
from sql.migrate import scripts
from tests.databases import Database

ROUTINES = scripts("routines")
# The provisioner may create roles: its functions call none of another owner.
OTHERS = [script for script in ROUTINES if script.name != "routines/49_project_roles.sql"]


def test_routines_raise_errors_through_one_function() -> None:
    raised = [script.name for script in OTHERS for _ in re.findall(r"raise exception using", script.text)]
    assert raised == ["routines/10_basics.sql"] * 2  # in zmesh.fail() itself


def test_every_code_that_routines_raise_has_an_exception_and_a_place_in_the_tree() -> None:
    codes = {code for script in ROUTINES for code in re.findall(r"'(ZM\d{3})'", script.text)}
    for code in codes:
        error = type("", (psycopg.Error,), {"sqlstate": code})()
        assert domain_error(error) is not None, code
        assert code in str(errors.__doc__)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("ZM403", Forbidden),
        ("ZM404", NotFound),
        ("ZM409", Conflict),
        ("ZM410", LeaseLost),
        ("ZM412", Outdated),
        ("ZM422", Invalid),
        ("unique_violation", Conflict),
        ("check_violation", Invalid),
    ],
)
def test_an_error_keeps_its_hint_constraint_and_column(database: Database, code: str, kind: type[DomainError]) -> None:
    error = failure(database, code, "no such city", "Look at a map.", "cities_exist", "city")
    assert type(error) is kind
    assert (error.message, error.hint) == ("no such city", "Look at a map.")
    assert (error.constraint, error.column) == ("cities_exist", "city")


def test_an_error_needs_a_message_only(database: Database) -> None:
    error = failure(database, "ZM404", "no such city", None, None, None)
    assert (error.hint, error.constraint, error.column) == ("", "", "")


def failure(database: Database, *values: Any) -> DomainError:
    with pytest.raises(psycopg.Error) as caught:
        database.rows("select zmesh.fail(%s, %s, %s, %s, %s)", *values)
    error = domain_error(caught.value)
    assert error is not None
    return error
