"""Schedules over HTTP: looked at before they are saved, run on request, and the record of their due times."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from tests.api.client import Api, refused, standing_in


def schedule(api: Api, **values: Any) -> dict[str, Any]:
    """A schedule of the function greet."""
    api.deploy()
    answer = api.call("POST", "/schedules", json={"function_id": "greet", "cron": "@daily", **values})
    assert answer.status_code == 201, answer.text
    created: dict[str, Any] = answer.json()
    return created


def record(api: Api, id: str, due_at: str, outcome: str, last_due_at: str | None = None) -> None:
    api.database.rows(
        "insert into zmesh.schedule_runs (schedule_id, due_at, last_due_at, outcome) values (%s, %s, %s, %s)",
        *(id, due_at, last_due_at, outcome),
    )


def test_the_next_five_times_are_shown_before_anything_is_saved(api: Api) -> None:
    answer = api.call("GET", "/schedules/preview", params={"cron": "30 6 * * mon-fri", "timezone": "Asia/Tokyo"})
    assert answer.status_code == 200, answer.text
    times = [datetime.fromisoformat(text) for text in answer.json()["due_at"]]
    assert len(times) == 5
    assert times == sorted(times)
    for time in times:
        local = time + timedelta(hours=9)
        assert (local.hour, local.minute, local.weekday() < 5) == (6, 30, True)
    assert api.call("GET", "/schedules").json()["items"] == []


def test_a_preview_gives_as_many_times_as_asked(api: Api) -> None:
    answer = api.call("GET", "/schedules/preview", params={"cron": "30 seconds", "count": 12})
    assert len(answer.json()["due_at"]) == 12


@pytest.mark.parametrize(
    ("query", "field", "said"),
    [
        ({"cron": "every day"}, "cron", "has 2 fields instead of 5"),
        ({"cron": "* * * * * *"}, "cron", "has 6 fields instead of 5"),
        ({"cron": "61 * * * *"}, "cron", "'61' is out of range 0 to 59"),
        ({"cron": "5-1 * * * *"}, "cron", "'5-1' has a range that ends before it starts"),
        ({"cron": "*/90 * * * *"}, "cron", "has a step that does not fit into 0 to 59"),
        ({"cron": "0 0 31 2 *"}, "cron", "never comes due"),
        ({"cron": "0 seconds"}, "cron", "is not 1 to 86400 seconds"),
        ({"cron": "\x00"}, "cron", ""),
        ({"cron": "@daily", "timezone": "Mars/Olympus"}, "timezone", "'Mars/Olympus' is unknown"),
        ({"cron": "@daily", "count": 0}, "count", ""),
        ({"cron": "@daily", "count": 101}, "count", ""),
        ({}, "cron", ""),
    ],
)
def test_what_cannot_fire_is_refused_in_a_preview_by_its_field(
    api: Api, query: dict[str, Any], field: str, said: str
) -> None:
    problem = refused(api.call("GET", "/schedules/preview", params=query), 422, "invalid_input", field)
    assert said in problem["detail"]


def test_running_one_now_invokes_its_function_even_while_it_is_paused(api: Api) -> None:
    created = schedule(api, payload={"a": 1}, enabled=False)
    answer = api.call("POST", f"/schedules/{created['id']}/run")
    assert answer.status_code == 202, answer.text
    invocation_id = answer.json()["invocation_id"]
    assert answer.headers["location"] == f"/invocations/{invocation_id}"
    with standing_in(api) as jobs:
        while not jobs:
            pass
    shown = api.call("GET", answer.headers["location"]).json()
    assert (shown["source"], shown["payload"]) == ("schedule", {"a": 1})
    [run] = api.call("GET", f"/schedules/{created['id']}/runs").json()["items"]
    assert (run["outcome"], run["invocation_id"], run["last_due_at"]) == ("run_now", invocation_id, None)


def test_running_one_whose_function_is_disabled_is_refused(api: Api) -> None:
    created = schedule(api)
    api.call("PATCH", "/functions/greet", json={"enabled": False})
    refused(api.call("POST", f"/schedules/{created['id']}/run"), 409, "function_disabled")


def test_the_record_tells_what_became_of_each_due_time_the_latest_first(api: Api) -> None:
    path = f"/schedules/{schedule(api)['id']}/runs"
    id = path.split("/")[2]
    record(api, id, "2026-01-01 00:00Z", "fired")
    record(api, id, "2026-01-02 00:00Z", "skipped_missed", "2026-01-04 00:00Z")
    record(api, id, "2026-01-05 00:00Z", "skipped_overlap")
    first = api.call("GET", path, params={"limit": 2}).json()
    rest = api.call("GET", path, params={"limit": 2, "cursor": first["next_cursor"]}).json()
    found = first["items"] + rest["items"]
    assert [run["outcome"] for run in found] == ["skipped_overlap", "skipped_missed", "fired"]
    assert found[1]["last_due_at"] == "2026-01-04T00:00:00Z"
    assert {run["error"] for run in found} == {None}
    assert rest["next_cursor"] is None
    refused(api.call("GET", path, params={"cursor": "nonsense"}), 422, "invalid_input", "cursor")


def test_a_paused_schedule_is_due_at_no_time(api: Api) -> None:
    path = f"/schedules/{schedule(api)['id']}"
    assert api.call("PATCH", path, json={"enabled": False}).json()["next_due_at"] is None
    assert api.call("PATCH", path, json={"enabled": True}).json()["next_due_at"] is not None


def test_a_schedule_is_found_by_its_name(api: Api) -> None:
    created = schedule(api, name="nightly & more")
    assert api.call("GET", "/schedules", params={"name": "nightly & more"}).json()["items"] == [created]
    for name in ("nightly", "", "\x00"):
        assert api.call("GET", "/schedules", params={"name": name}).json()["items"] == []


def test_a_viewer_looks_and_another_project_does_not_even_see_it(api: Api, stranger: Api) -> None:
    path = f"/schedules/{schedule(api)['id']}"
    refused(stranger.call("POST", f"{path}/run"), 404, "schedule_not_found")
    refused(stranger.call("GET", f"{path}/runs"), 404, "schedule_not_found")
    refused(api.call("GET", f"/schedules/{uuid4()}/runs"), 404, "schedule_not_found")
    api.change_role("viewer")
    refused(api.call("POST", f"{path}/run"), 403, "forbidden")
    assert api.call("GET", f"{path}/runs").status_code == 200
    assert api.call("GET", "/schedules/preview", params={"cron": "@daily"}).status_code == 200
