"""`zmesh schedules …` as a person types it, against a running platform."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.platform import Platform

FUNCTION = "greet-by-the-clock"


@pytest.fixture(scope="module")
def platform(running_platform: Platform) -> Iterator[Platform]:
    """With a function for the schedules; both are gone afterwards."""
    running_platform.deploy(FUNCTION, "def handler(payload, zmesh):\n    return payload\n")
    yield running_platform
    running_platform.request("DELETE", f"/functions/{FUNCTION}")


def zmesh(platform: Platform, *arguments: str) -> Any:
    return json.loads(platform.zmesh("schedules", *arguments, "--output", "json"))


def test_a_schedule_from_creation_to_deletion(platform: Platform) -> None:
    shown = platform.zmesh(
        *("schedules", "create", FUNCTION, "0 3 29 2 *", "--name", "leap", "--timezone", "Europe/Berlin"),
        *("--data", '{"n": 1}', "--overlap", "queue", "--missed", "all", "--output", "table"),
    )
    assert f"created leap ({FUNCTION})" in shown
    assert shown.count("-02-29 03:00:00 CET") == 5
    [listed] = [found for found in zmesh(platform, "list") if found["name"] == "leap"]
    assert (listed["payload"], listed["overlap"], listed["missed"]) == ({"n": 1}, "queue", "all")
    assert zmesh(platform, "pause", "leap")["enabled"] is False
    assert zmesh(platform, "update", "leap", "--cron", "@yearly", "--name", "year")["cron"] == "@yearly"
    assert zmesh(platform, "resume", "year")["next_due_at"].endswith("-12-31T23:00:00Z")
    started = zmesh(platform, "run", listed["id"])["invocation_id"]
    assert platform.ended(started)["result"] == {"n": 1}
    history = platform.zmesh("schedules", "history", "year", "--output", "table")
    assert "run on request" in history
    assert "success" in history
    assert zmesh(platform, "delete", "year", "--yes")["action"] == "deleted"
    said = platform.zmesh("schedules", "history", "year", status=1)
    assert 'There is no schedule "year". [schedule_not_found]' in said


def test_a_preview_shows_the_times_on_the_clock_of_the_zone(platform: Platform) -> None:
    shown = platform.zmesh("schedules", "preview", "30 2 * * *", "--timezone", "Asia/Kolkata", "--output", "table")
    assert shown.count(" 02:30:00 IST") == 5


def test_a_bad_expression_is_refused_with_what_is_wrong(platform: Platform) -> None:
    said = platform.zmesh("schedules", "create", FUNCTION, "0 25 * * *", status=1)
    assert "cron field '25' is out of range 0 to 23 [invalid_input]" in said
    said = platform.zmesh("schedules", "update", "nobody", status=2)
    assert "Nothing to change: give at least one option." in said
