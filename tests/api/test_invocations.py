"""History, logs and cancelling."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest

from tests.api.client import Api, eventually, refused, standing_in
from tests.api.conftest import Backend

ITEM = {
    *("id", "function_id", "status", "source", "version", "attempt", "created_at", "started_at", "finished_at"),
    *("duration_ms", "result", "error", "logs", "peak_memory_mb", "cpu_ms"),
}


def lines(count: int) -> str:
    return json.dumps([{"at": "2030-01-01T00:00:00Z", "level": "info", "message": f"line {n}"} for n in range(count)])


def test_history_shows_the_newest_first_with_their_logs(api: Api) -> None:
    function = api.deploy()
    with standing_in(api, lambda job: {"result": job["payload"], "logs": lines(2), "duration_ms": 7}):
        for n in range(3):
            api.invoke(json={"n": n})
    page = api.call("GET", "/functions/greet/invocations").json()
    assert [item["result"]["n"] for item in page["items"]] == [2, 1, 0]
    assert page["next_cursor"] is None
    item = page["items"][0]
    assert set(item) >= ITEM
    assert (item["function_id"], item["status"], item["source"]) == (function["id"], "success", "api")
    assert (item["version"], item["attempt"], item["duration_ms"]) == (1, 1, 7)
    assert item["logs"] == [
        {"at": "2030-01-01T00:00:00Z", "level": "info", "message": "line 0"},
        {"at": "2030-01-01T00:00:00Z", "level": "info", "message": "line 1"},
    ]
    assert item["created_at"] <= item["started_at"] <= item["finished_at"]


def test_history_pages_and_filters_by_status(api: Api) -> None:
    api.deploy()
    with standing_in(api, lambda job: {"status": "error" if json.loads(job["payload"])["n"] % 2 else "success"}):
        for n in range(5):
            api.invoke(json={"n": n})
    first = api.call("GET", "/functions/greet/invocations?limit=3").json()
    rest = api.call("GET", f"/functions/greet/invocations?limit=3&cursor={first['next_cursor']}").json()
    assert (len(first["items"]), len(rest["items"]), rest["next_cursor"]) == (3, 2, None)
    ids = [item["id"] for item in first["items"] + rest["items"]]
    assert ids == sorted(ids, reverse=True)
    errors = api.call("GET", "/functions/greet/invocations?status=error").json()["items"]
    assert [item["status"] for item in errors] == ["error", "error"]
    refused(api.call("GET", "/functions/greet/invocations?status=odd"), 422, "invalid_input", "status")
    refused(api.call("GET", "/functions/greet/invocations?cursor=IngiCg"), 422, "invalid_input", "cursor")


def test_history_shows_the_last_lines_and_the_logs_endpoint_all(api: Api) -> None:
    api.deploy()
    with standing_in(api, lambda job: {"logs": lines(250)}):
        id = api.invoke().json()["invocation_id"]
    [item] = api.call("GET", "/functions/greet/invocations").json()["items"]
    assert item["logs_truncated"] is True
    assert [line["message"] for line in item["logs"]] == [f"line {n}" for n in range(150, 250)]
    found: list[str] = []
    page: dict[str, Any] = {"next_cursor": ""}
    while page["next_cursor"] is not None:
        query = f"&cursor={page['next_cursor']}" if page["next_cursor"] else ""
        page = api.call("GET", f"/invocations/{id}/logs?limit=100{query}").json()
        found += [line["message"] for line in page["items"]]
    assert found == [f"line {n}" for n in range(250)]
    assert page["items"][-1] | {"at": ""} == {
        "at": "",
        "level": "info",
        "message": "line 249",
        "attempt": 1,
        "line": 250,
    }


def test_one_invocation_shows_everything_that_is_known(api: Api) -> None:
    api.deploy()
    error = {"type": "ValueError", "message": "no", "stack": "greet.py:2"}
    with standing_in(api, lambda job: {"status": "error", "error": json.dumps(error), "logs": lines(1)}):
        id = api.invoke(json={"n": 1}, headers={"idempotency-key": "k"}).json()["invocation_id"]
    answer = api.call("GET", f"/invocations/{id}")
    shown = answer.json()
    assert ITEM | {"function", "payload", "response", "max_attempts", "run_at", "idempotency_key"} <= set(shown)
    assert (shown["function"], shown["payload"], shown["error"]) == ("greet", {"n": 1}, error)
    assert (shown["max_attempts"], shown["idempotency_key"], len(shown["logs"])) == (1, "k", 1)
    assert "retry-after" not in answer.headers


def test_an_invocation_that_has_not_ended_says_when_to_look_again(api: Api) -> None:
    api.deploy()
    [id] = api.database.enqueue(api.project)
    answer = api.call("GET", f"/invocations/{id}")
    assert (answer.json()["status"], answer.json()["source"], answer.headers["retry-after"]) == ("queued", "sql", "1")


def test_a_result_may_be_deeper_than_we_could_parse(api: Api) -> None:
    api.deploy()
    deep = "[" * 3000 + "]" * 3000
    with standing_in(api, lambda job: {"result": deep}):
        id = api.invoke().headers["x-zmesh-invocation-id"]
    for path in (f"/invocations/{id}", "/functions/greet/invocations"):
        assert f'"result":{deep},' in api.call("GET", path).text


@pytest.mark.parametrize("id", [uuid4(), "x", "1", "%00"])
@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("GET", "/logs"), ("POST", "/cancel"), ("DELETE", "")])
def test_an_unknown_invocation_is_404(api: Api, id: object, method: str, path: str) -> None:
    assert api.call(method, f"/invocations/{id}{path}").status_code == 404


def test_cancelling_ends_what_is_queued_once(api: Api) -> None:
    api.deploy()
    [id] = api.database.enqueue(api.project)
    cancelled = api.call("POST", f"/invocations/{id}/cancel")
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    refused(api.call("POST", f"/invocations/{id}/cancel"), 409, "already_ended")
    [other] = api.database.enqueue(api.project)
    assert api.call("DELETE", f"/invocations/{other}").status_code == 204
    assert api.database.invocation(other)["status"] == "cancelled"


def test_cancelling_what_runs_asks_for_its_end(api: Api) -> None:
    api.deploy()
    [id] = api.database.enqueue(api.project)
    listener = api.database.listener()
    job = next(job for job in api.database.claim(listener, 100) if job["id"] == id)
    assert api.call("POST", f"/invocations/{id}/cancel").json()["status"] == "running"
    assert api.database.finish(listener, job, "cancelled")
    assert api.call("GET", f"/invocations/{id}").json()["status"] == "cancelled"


def test_a_caller_who_waits_for_a_cancelled_invocation_is_told(api: Api) -> None:
    api.deploy()
    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(api.invoke)
        [item] = eventually(lambda: api.call("GET", "/functions/greet/invocations").json()["items"], "the call")
        api.call("POST", f"/invocations/{item['id']}/cancel")
        answer = call.result()
    assert (answer.status_code, answer.json()["status"], answer.json()["error"]["type"]) == (409, *["cancelled"] * 2)


def test_the_history_of_a_function_ends_with_it_but_its_invocations_stay(api: Api) -> None:
    api.deploy()
    with standing_in(api):
        id = api.invoke().json()["invocation_id"]
    api.call("DELETE", "/functions/greet")
    refused(api.call("GET", "/functions/greet/invocations"), 404, "function_not_found")
    assert api.call("GET", f"/invocations/{id}").json()["status"] == "success"


def test_history_leaves_out_what_is_large_and_the_invocation_shows_it(api: Api) -> None:
    api.deploy()
    large = json.dumps("x" * 70_000)
    line = json.dumps([{"at": "2030-01-01T00:00:00Z", "level": "info", "message": "y" * 5000}])
    with standing_in(api, lambda job: {"result": large, "logs": line}):
        id = api.invoke().json()["invocation_id"]
    [item] = api.call("GET", "/functions/greet/invocations").json()["items"]
    assert (item["result"], item["result_truncated"]) == (None, True)
    assert len(item["logs"][0]["message"]) == 4000
    shown = api.call("GET", f"/invocations/{id}").json()
    assert (shown["result"], shown["result_truncated"]) == ("x" * 70_000, False)
    assert len(api.call("GET", f"/invocations/{id}/logs").json()["items"][0]["message"]) == 5000


def failing(message: str) -> str:
    return json.dumps({"type": "ValueError", "message": message, "stack": None})


def ended(api: Api, function: str, status: str = "success", **outcome: Any) -> str:
    """The id of an invocation that has ended so."""
    with standing_in(api, lambda job: {"status": status, **outcome}):
        id: str = api.invoke(function, json={}).json()["invocation_id"]
    return id


def found(api: Api, path: str, **query: Any) -> list[str]:
    answer = api.call("GET", path, params=query)
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json()["items"]]


def test_invocations_are_found_by_what_is_known_of_them(api: Api, stranger: Api) -> None:
    api.deploy("a")
    api.deploy("b")
    stranger.deploy("a")
    ended(stranger, "a")
    fine, other = ended(api, "a"), ended(api, "b")
    failed = ended(api, "a", "error", error=failing("Connection to DB-7 lost"))
    late = ended(api, "a", "timeout", error=failing("took 100% of 5 s"))
    api.call("PATCH", "/functions/a", json={"code": "two"})
    second = ended(api, "a")
    [queued] = map(str, api.database.enqueue(api.project, "a"))
    everything = [queued, second, late, failed, other, fine]
    assert found(api, "/invocations") == everything
    assert found(api, "/functions/a/invocations") == [id for id in everything if id != other]
    assert found(api, "/invocations", function="b") == [other]
    for path in ("/invocations", "/functions/a/invocations"):
        assert found(api, path, status="error") == [failed]
        assert found(api, path, source="sql") == [queued]
        assert found(api, path, version=2) == [second]
        assert found(api, path, error="db-7") == [failed]
        assert found(api, path, error="100%") == [late]
        assert found(api, path, error="valueerror") == [late, failed]
        assert found(api, path, error="valueerror", status="timeout") == [late]
        assert found(api, path, created_after="2999-01-01T00:00:00Z") == []
        assert found(api, path, created_before="2020-01-01T00:00:00") == []
        assert len(found(api, path, created_after="2020-01-01T00:00:00", status="timeout", logs="false")) == 1


def test_pages_over_several_states_leave_nothing_out(api: Api) -> None:
    api.deploy()
    ids = [ended(api, "greet", status, error=failing("no")) for status in ("error", "timeout", "error", "timeout")]
    seen, cursor = [], None
    for _ in ids:
        query = {"error": "no", "limit": 1} | ({"cursor": cursor} if cursor else {})
        page = api.call("GET", "/invocations", params=query).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert (seen, cursor) == (ids[::-1], None)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"status": "done"}, "status"),
        ({"source": "mail"}, "source"),
        ({"version": 0}, "version"),
        ({"created_after": "yesterday"}, "created_after"),
        ({"error": ""}, "error"),
        ({"error": "\x00"}, "error"),
    ],
)
def test_an_invalid_filter_is_named(api: Api, query: dict[str, Any], field: str) -> None:
    refused(api.call("GET", "/invocations", params=query), 422, "invalid_input", field)


def test_a_failed_invocation_is_retried_and_keeps_its_earlier_attempts(api: Api) -> None:
    api.deploy()
    id = ended(api, "greet", "error", error=failing("first"), duration_ms=7)
    again = api.call("POST", f"/invocations/{id}/retry")
    assert (again.status_code, again.json()["status"], again.json()["max_attempts"]) == (200, "queued", 2)
    refused(api.call("POST", f"/invocations/{id}/retry"), 409, "not_retryable")
    with standing_in(api):
        eventually(lambda: api.call("GET", f"/invocations/{id}").json()["status"] == "success", "its success")
    shown = api.call("GET", f"/invocations/{id}").json()
    [earlier] = shown["earlier_attempts"]
    assert (earlier["attempt"], earlier["status"], earlier["error"]["message"]) == (1, "error", "first")
    assert (earlier["duration_ms"], shown["attempt"]) == (7, 2)
    assert earlier["started_at"] <= earlier["finished_at"] <= shown["started_at"]
    refused(api.call("POST", f"/invocations/{id}/retry"), 409, "not_retryable")


def test_an_invocation_that_is_read_warns_of_nothing_in_the_log(backend: Backend, api: Api) -> None:
    api.deploy()
    id = ended(api, "greet", "success")
    assert api.call("GET", f"/invocations/{id}").json()["earlier_attempts"] == []
    logged = eventually(
        lambda: f"GET /invocations/{id} 200" in (text := backend.process.log.read_text()) and text, "the log of it"
    )
    assert "Warning" not in logged


def test_many_failed_invocations_are_each_retried_once(api: Api, stranger: Api) -> None:
    for project in (api, stranger):
        project.deploy()
    dead = [ended(api, "greet", "error", error=failing(f"no {n}")) for n in range(3)]
    dead.append(ended(api, "greet", "timeout", error=failing("no 3")))
    other = ended(stranger, "greet", "error", error=failing("no 0"))
    fine = ended(api, "greet")

    def retry(**body: Any) -> tuple[list[str], str | None]:
        answer = api.call("POST", "/invocations/retry", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()["items"], answer.json()["next_cursor"]

    assert retry(error="no 2") == ([dead[2]], None)
    assert retry(function="greet", status="timeout") == ([dead[3]], None)
    assert retry(ids=[dead[1], other, fine]) == ([dead[1]], None)
    for id in (dead[1], dead[2], dead[3]):
        api.call("POST", f"/invocations/{id}/cancel")
        api.call("POST", f"/invocations/{id}/retry")
    with standing_in(api, lambda job: {"status": "error", "error": failing("again")}):
        eventually(lambda: len(found(api, "/invocations", status="error")) == 4, "the end of all")
    items, cursor = retry(limit=3)
    assert (items, retry(cursor=cursor)) == (dead[:3], (dead[3:], None))
    assert retry() == ([], None)
    refused(api.call("POST", "/invocations/retry", json={"ids": [other], "status": "error"}), 422, "invalid_input")
    refused(api.call("POST", "/invocations/retry", json={"function": "nobody"}), 404, "function_not_found")
    future = {"created_after": "2999-01-01T00:00:00Z"}
    assert retry(**future) == ([], None)
    for bad in ({"ids": [1]}, {"ids": ["x"]}, {"created_after": 7}, {"created_before": "2999-01-01T00:00:00"}):
        refused(api.call("POST", "/invocations/retry", json=bad), 422, "invalid_input")
