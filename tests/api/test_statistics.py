"""Figures over HTTP: by step and version, of functions and the project, and functions with their last hour."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from api.management.percentiles import merged, percentile
from tests.api.client import Api, refused


def minute(ago: int) -> datetime:
    return datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=ago)


def record(api: Api, function: str, at: datetime, unit: str = "minute", version: int = 1, **columns: Any) -> None:
    """What ended invocations leave in the summaries."""
    values = {"project_id": api.project.id, "function_id": function, "starts_at": at, "version": version, **columns}
    names, marks = ", ".join(values), ", ".join(["%s"] * len(values))
    api.database.rows(f"insert into zmesh.statistics_by_{unit} ({names}) values ({marks})", *values.values())


def test_a_function_has_figures_for_every_step_for_its_versions_and_in_all(api: Api) -> None:
    function = api.deploy()
    record(api, function["id"], minute(10), success=3, error=1, duration_ms=[0, 0, 0, 4])
    record(api, function["id"], minute(10), version=2, success=1, duration_ms=[0, 0, 0, 0, 0, 0, 1])
    record(api, function["id"], minute(70), success=100)
    found = api.call("GET", "/functions/greet/statistics").json()
    assert (found["step"], len(found["points"])) == (60, 61)
    [busy] = [point for point in found["points"] if point["success"]]
    assert (datetime.fromisoformat(busy["at"]), busy["success"], busy["error"]) == (minute(10), 4, 1)
    assert busy["duration_ms"] == {"p50": 1.83, "p95": 3.78, "p99": 3.95}
    assert busy["queue_ms"] is None
    assert [(one["version"], one["success"]) for one in found["versions"]] == [(2, 1), (1, 3)]
    assert found["versions"][0]["duration_ms"]["p50"] == 3.56
    assert (found["total"]["success"], found["total"]["duration_ms"]) == (4, busy["duration_ms"])
    assert [one["version"] for one in found["deployments"]] == [1]


def test_long_ranges_are_read_from_hours_and_short_steps_reach_back_a_day(api: Api) -> None:
    function = api.deploy()
    at = minute(0).replace(minute=0) - timedelta(days=9)
    record(api, function["id"], at, "hour", success=7)
    record(api, str(api.project.id), at, "hour", success=9)
    since = (datetime.now(UTC) - timedelta(days=10)).isoformat()
    found = api.call("GET", "/functions/greet/statistics", params={"since": since}).json()
    assert found["step"] == 21600
    assert sum(point["success"] for point in found["points"]) == 7
    assert api.call("GET", "/statistics", params={"since": since}).json()["total"]["success"] == 9
    for query, field in (
        ({"since": since, "step": 60}, "step"),
        ({"step": 61}, "step"),
        ({"since": (datetime.now(UTC) - timedelta(hours=20)).isoformat(), "step": 60}, "step"),
        ({"since": "2020-01-01T00:00:00Z"}, "since"),
        ({"since": "yesterday"}, "since"),
        ({"since": "2099-01-01T00:00:00Z"}, "since"),
    ):
        refused(api.call("GET", "/functions/greet/statistics", params=query), 422, "invalid_input", field)


def names(api: Api, **query: Any) -> list[str]:
    answer = api.call("GET", "/statistics/functions", params=query)
    assert answer.status_code == 200, answer.text
    return [item["slug"] for item in answer.json()["items"]]


def test_functions_are_listed_with_their_last_hour_by_any_order(api: Api) -> None:
    a, b, _ = (api.deploy(name, tags=tags) for name, tags in (("a", []), ("b", ["Mail"]), ("c-mail", [])))
    record(api, a["id"], minute(5), success=5)
    record(api, b["id"], minute(0), success=2, error=1, timeout=1, duration_ms=[0, 2, 0, 0, 1])
    record(api, b["id"], minute(0), version=2, success=0, duration_ms=[0, 0, 0, 1])
    record(api, b["id"], minute(61), error=50)
    record(api, str(api.project.id), minute(5), success=500, error=400)
    api.call("PATCH", "/functions/a", json={"code": "def handler(p, z): return 1"})
    api.call("PATCH", "/functions/c-mail", json={"enabled": False})
    [_, listed, _] = api.call("GET", "/statistics/functions").json()["items"]
    assert (listed["last_hour"]["calls"], listed["last_hour"]["errors"]) == (4, 2)
    assert sum(listed["last_hour"]["series"]) == 4
    assert listed["last_hour"]["error_series"][-1] + listed["last_hour"]["error_series"][-2] == 2
    assert listed["last_hour"]["duration_ms"] == {"p50": 1.26, "p95": 2.41, "p99": 2.5}
    assert "code" not in listed
    assert names(api) == ["a", "b", "c-mail"]
    assert names(api, sort="calls") == ["a", "b", "c-mail"]
    assert names(api, sort="errors")[0] == "b"
    assert names(api, sort="deployed")[0] == "a"
    assert names(api, show="failing") == ["b"]
    assert names(api, show="disabled") == ["c-mail"]
    assert names(api, search="MAIL") == ["b", "c-mail"]
    assert names(api, search="_") == []


def test_a_listed_function_says_what_calls_it(api: Api) -> None:
    for name in ("a", "b", "c"):
        api.deploy(name)
    paused = {"function_id": "b", "cron": "@daily", "enabled": False}
    for schedule in ({"function_id": "a", "cron": "@daily"}, paused):
        assert api.call("POST", "/schedules", json=schedule).status_code == 201
    assert api.call("POST", "/webhooks", json={"function_id": "a"}).status_code == 201
    for function, source, hours in (("b", "sql", 1), ("b", "api", 2), ("b", "function", 25)):
        api.database.rows(
            """insert into zmesh.history (id, project_id, function_id, lane, created_at, run_at, finished_at,
                   max_attempts, due, status, source, function)
               select zmesh.id_at(at), f.project_id, f.id, 0, at, at, at, 1, true, 'success', %s, f.slug
                 from zmesh.functions f, (select now() - make_interval(hours => %s) as at) t
                where f.slug = %s and f.project_id = %s""",
            *(source, hours, function, api.project.id),
        )
    items = api.call("GET", "/statistics/functions").json()["items"]
    assert [item["called_by"] for item in items] == [["schedule", "webhook"], ["api", "sql"], []]


@pytest.mark.parametrize("sort", ["name", "calls", "errors", "deployed"])
def test_pages_of_functions_meet_without_gap_or_overlap(api: Api, sort: str) -> None:
    for number in range(5):
        function = api.deploy(f"f{number}")
        record(api, function["id"], minute(2), success=number // 2, error=number % 2)
    query = {"sort": sort, "limit": 2}
    seen = []
    while True:
        page = api.call("GET", "/statistics/functions", params=query).json()
        seen += [item["slug"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        query["cursor"] = page["next_cursor"]
    assert sorted(seen) == [f"f{number}" for number in range(5)]
    assert seen == names(api, sort=sort)
    refused(api.call("GET", "/statistics/functions?cursor=x"), 422, "invalid_input", "cursor")


def test_kinds_of_errors_are_listed_and_their_invocations_found(api: Api) -> None:
    function = api.deploy()
    kind = api.database.value("select zmesh.error_fingerprint('TypeError', 'no order 1')")
    hour = minute(0).replace(minute=0)
    for fingerprint, version, calls in ((kind, 1, 3), (kind, 2, 4), (uuid4(), 2, 5)):
        api.database.rows(
            "insert into zmesh.errors_by_hour (project_id, function_id, fingerprint, last_invocation_id, starts_at,"
            " first_at, last_at, version, calls, type, message) values (%s, %s, %s, gen_random_uuid(), %s, %s,"
            " %s + %s * interval '1 second', %s, %s, 'TypeError', 'no order 1')",
            *(api.project.id, function["id"], fingerprint, hour, hour, hour, version, version, calls),
        )
    first, second = api.call("GET", "/functions/greet/errors").json()["items"]
    assert (first["fingerprint"], first["calls"], first["versions"]) == (str(kind), 7, [1, 2])
    assert second["calls"] == 5
    for message in ("no order 17", "no customer"):
        api.database.enqueue(api.project, "greet", max_attempts=1)
        error = f'{{"type": "TypeError", "message": "{message}"}}'
        listener = api.database.listener(100, "1 minute")
        for job in api.database.claim(listener, 100):
            api.database.finish(listener, job, "error", error=error)
        api.database.rows("select zmesh.end_lease(%s)", listener, url=api.database.listener_url)
    for path in ("/invocations", "/functions/greet/invocations"):
        [found] = api.call("GET", path, params={"fingerprint": str(kind)}).json()["items"]
        assert found["error"]["message"] == "no order 17"


def test_usage_is_what_calls_took_with_the_limits_of_the_project(api: Api) -> None:
    api.deploy()
    record(api, str(api.project.id), minute(3), success=2, error=1, run_ms=500, cpu_ms=100)
    found = api.call("GET", "/usage").json()
    [point] = found["points"]
    assert (point["calls"], point["run_ms"], point["cpu_ms"]) == (3, 500, 100)
    assert (found["limits"]["functions"], found["limits"]["keys"], found["limits"]["max_running"]) == (1, 1, 64)


def test_a_percentile_lies_in_its_bucket() -> None:
    assert percentile({1: 10}, 0.99) == 1
    assert percentile({4: 1}, 0.5) == 1.78  # between 1.59 and 2
    values = {1: 50, 31: 50}
    assert percentile(values, 0.5) == 1
    assert 800 < percentile(values, 0.51) <= 1024
    assert merged([{1: 1, 2: 1}, {2: 3}]) == {1: 1, 2: 4}
