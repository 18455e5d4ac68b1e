"""`zmesh changes …` as a person types it, against a running platform."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.platform import Platform

FUNCTION = "hear-of-changes"


@pytest.fixture
def platform(running_platform: Platform) -> Iterator[Platform]:
    """With a function and a table; both are gone afterwards."""
    running_platform.deploy(FUNCTION, "def handler(payload, zmesh):\n    return payload['record']\n")
    running_platform.sql("create table heard (id int primary key, total int)")
    yield running_platform
    running_platform.sql("drop table heard")
    running_platform.request("DELETE", f"/functions/{FUNCTION}")


def test_changes_are_passed_on_until_that_is_deleted(platform: Platform) -> None:
    made = platform.zmesh(
        *("changes", "create", "heard", FUNCTION, "--event", "insert", "--when", "new.total > 5"),
        *("--output", "table"),
    )
    assert made == f"INSERT of heard → {FUNCTION}\n"
    platform.sql("insert into heard values (1, 1), (2, 9)")
    [invocation] = platform.history(FUNCTION)
    assert platform.ended(invocation["id"])["result"] == {"id": 2, "total": 9}
    listed = platform.zmesh("changes", "list", "--output", "table")
    assert "new.total > 5" in listed
    assert json.loads(platform.zmesh("changes", "delete", "heard", FUNCTION))["action"] == "deleted"
    assert "heard" not in [change["table"] for change in json.loads(platform.zmesh("changes", "list"))]


def test_an_invalid_change_is_refused_with_the_reason(platform: Platform) -> None:
    said = platform.zmesh("changes", "create", "heart", FUNCTION, status=1)
    assert 'table "heart" does not exist. [table_not_found]' in said
    said = platform.zmesh("changes", "create", "heard", FUNCTION, "--column", "colour", status=1)
    assert 'heard has no column "colour" [invalid_input]' in said
