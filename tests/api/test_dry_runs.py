"""Dry runs as their callers ask for them, and what they are told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.api.client import Api, echo, refused, standing_in
from tests.databases import Row

CHANGES = {
    "tables": [{"table": "orders", "inserted": 1, "updated": 0, "deleted": 0, "listed": True}],
    "rows": [{"table": "orders", "operation": "insert", "old": None, "new": {"id": 1}}],
    "truncated": False,
    "note": None,
}


def listener_of(api: Api, job: Row) -> Any:
    [row] = api.database.rows("select listener_id from zmesh.queue where id = %s", job["id"])
    return row["listener_id"]


def changing(api: Api, job: Row) -> dict[str, Any] | None:
    """A run that says what it would have changed, as a listener does."""
    keep = "select zmesh.keep_changes(%s, %s, %s)"
    stranger = "00000000-0000-0000-0000-000000000000"
    api.database.rows(keep, stranger, job["id"], '{"by": "a listener that does not run it"}')
    api.database.rows(keep, listener_of(api, job), job["id"], json.dumps(CHANGES))
    return {**(echo(job) or {}), "logs": json.dumps([{"at": "2026-01-01T00:00:00Z", "level": "info", "message": "hi"}])}


def test_a_deployed_function_runs_dry_and_tells_what_it_would_have_changed(api: Api) -> None:
    api.deploy()
    with standing_in(api, lambda job: changing(api, job)) as jobs:
        answer = api.call("POST", "/functions/greet/invoke", json={"payload": {"n": 1}, "dry_run": True})
        normal = api.call("POST", "/functions/greet/invoke", json={"payload": {}, "dry_run": False})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["status"], body["changes"], body["version"]) == ("success", CHANGES, -1)
    assert [line["message"] for line in body["logs"]] == ["hi"]
    assert [(job["dry_run"], job["version"], job["max_attempts"]) for job in jobs] == [(True, -1, 1), (False, 1, 1)]
    assert jobs[0]["code"] == jobs[1]["code"]
    assert "changes" not in normal.json()
    assert api.call("GET", f"/invocations/{body['invocation_id']}/changes").json() == CHANGES


def test_it_runs_the_version_that_a_call_would(api: Api) -> None:
    api.deploy()
    api.call("PATCH", "/functions/greet", json={"code": "def handler(p, z): return 2\n"})
    api.call("PUT", "/functions/greet/aliases/live", json={"versions": {"1": 100}})
    with standing_in(api) as jobs:
        for headers in ({}, {"x-zmesh-version": "2"}, {"x-zmesh-version": "live"}):
            answer = api.call("POST", "/functions/greet/invoke", json={"dry_run": True}, headers=headers)
            assert answer.status_code == 200, answer.text
    assert ["return 2" in job["code"] for job in jobs] == [False, True, False]
    for version in ("7", "beta"):
        answer = api.call(
            "POST", "/functions/greet/invoke", json={"dry_run": True}, headers={"x-zmesh-version": version}
        )
        assert answer.status_code == 404, answer.text


@pytest.mark.parametrize("path", ["/functions/greet/test", "/drafts"])
def test_a_draft_runs_dry(api: Api, path: str) -> None:
    api.deploy()
    body = {
        "code": "def handler(p, z): return 3\n",
        "dry_run": True,
        **({"name": "greet"} if path == "/drafts" else {}),
    }
    with standing_in(api, lambda job: changing(api, job)) as jobs:
        assert api.call("POST", path, json=body).json()["changes"] == CHANGES
        assert "changes" not in api.call("POST", path, json={**body, "dry_run": False}).json()
    assert [job["dry_run"] for job in jobs] == [True, False]


@pytest.mark.parametrize("header", ["x-zmesh-delay", "x-zmesh-callback-url", "idempotency-key", "x-zmesh-run-at"])
def test_what_would_have_an_effect_is_refused(api: Api, header: str) -> None:
    api.deploy()
    value = {"x-zmesh-delay": "1", "x-zmesh-callback-url": "https://shop.example/"}.get(header, "2099-01-01T00:00:00Z")
    for path in ("/functions/greet/invoke", "/functions/greet/test"):
        answer = api.call("POST", path, json={"dry_run": True}, headers={header: value})
        refused(answer, 400, "invalid_header")
    refused(api.call("POST", "/functions/greet/invoke", json={"dry_run": 1}), 422, "invalid_input", "dry_run")


def test_changes_are_those_of_a_dry_run_of_the_own_project(api: Api, stranger: Api) -> None:
    api.deploy()
    with standing_in(api, lambda job: changing(api, job) if job["dry_run"] else echo(job)):
        dry = api.call("POST", "/functions/greet/invoke", json={"dry_run": True}).json()["invocation_id"]
        normal = api.call("POST", "/functions/greet/invoke", json={}).json()["invocation_id"]
    refused(api.call("GET", f"/invocations/{normal}/changes"), 404, "no_changes")
    refused(stranger.call("GET", f"/invocations/{dry}/changes"), 404, "invocation_not_found")
    api.database.rows("update zmesh.dry_runs set created_at = created_at - interval '2 hours'")
    api.database.rows("select zmesh.delete_old_drafts()")
    refused(api.call("GET", f"/invocations/{dry}/changes"), 404, "no_changes")
