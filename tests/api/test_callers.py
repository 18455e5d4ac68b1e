"""What a caller may ask of a function depends on what let it in: nothing, an API key, or a member's token."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.api.client import Api, new_token, refused, standing_in

FAILURE = {"type": "ValueError", "message": "the password is 1234", "stack": "greet.py:2"}
OPTIONS = {
    "x-zmesh-version": ("1", "version"),
    "x-zmesh-priority": ("100", "priority"),
    "x-zmesh-run-at": ("2030-01-01T00:00:00Z", "delay"),
    "x-zmesh-delay": ("1", "delay"),
    "x-zmesh-expires-at": ("2030-01-01T00:00:00Z", "expires_at"),
    "x-zmesh-max-attempts": ("100", "max_attempts"),
    "x-zmesh-concurrency-key": ("k", "concurrency_key"),
    "x-zmesh-callback-url": ("https://example.org/", "callback_url"),
    "idempotency-key": ("order-1", "idempotency_key"),
}
FOR_KEYS = {"delay", "expires_at", "concurrency_key", "idempotency_key"}
LATER = {"prefer": "respond-async"}


def anonymously(api: Api, function: dict[str, Any], **options: Any) -> httpx.Response:
    return httpx.post(f"{api.url}/api/functions/{function['id']}", timeout=30, **options)


@pytest.mark.parametrize("header", OPTIONS)
def test_an_anonymous_caller_sets_only_what_the_function_allows(api: Api, header: str) -> None:
    function = api.deploy(auth="none")
    value, option = OPTIONS[header]
    problem = refused(anonymously(api, function, headers={header: value}), 403, "option_not_allowed")
    assert header in problem["detail"].lower()
    assert f'"{option}" to anonymous_options' in problem["hint"]
    assert api.database.value("select count(*) from zmesh.invocations where function_id = %s", function["id"]) == 0
    api.call("PATCH", "/functions/greet", json={"anonymous_options": [option]})
    assert anonymously(api, function, headers={**LATER, header: value}).status_code == 202


@pytest.mark.parametrize("header", OPTIONS)
def test_a_key_sets_few_options_unless_the_function_says_otherwise(api: Api, header: str) -> None:
    api.deploy()
    value, option = OPTIONS[header]
    sent = {**LATER, header: value}
    if option in FOR_KEYS:
        assert api.invoke(headers=sent).status_code == 202
        api.call("PATCH", "/functions/greet", json={"key_options": []})
    problem = refused(api.invoke(headers=sent), 403, "option_not_allowed")
    assert "API keys" in problem["detail"]
    api.call("PATCH", "/functions/greet", json={"key_options": [option]})
    assert api.invoke(headers=sent).status_code == 202


def test_developers_may_set_every_option_and_viewers_those_of_keys(api: Api) -> None:
    api.deploy(auth="jwt")
    every = {name: value for name, (value, _) in OPTIONS.items() if name != "x-zmesh-delay"}
    every["x-zmesh-expires-at"] = "2031-01-01T00:00:00Z"
    assert api.call("POST", "/api/functions/greet", headers=every).status_code == 202
    api.change_role("viewer")
    refused(api.call("POST", "/api/functions/greet", headers={"x-zmesh-version": "1"}), 403, "option_not_allowed")
    assert api.call("POST", "/api/functions/greet", headers={"x-zmesh-delay": "60"}).status_code == 202


def test_an_option_that_does_not_exist_is_refused_as_a_setting(api: Api) -> None:
    api.deploy()
    for setting in ("anonymous_options", "key_options"):
        answer = api.call("PATCH", "/functions/greet", json={setting: ["versions"]})
        refused(answer, 422, "invalid_input")


def test_an_idempotency_key_answers_only_the_credential_that_chose_it(api: Api) -> None:
    api.deploy(auth="jwt")
    api.deploy("keyed")
    headers = {"idempotency-key": "order-1"}
    other_key = api.call("POST", "/keys", json={"name": "other"}).json()["key"]
    somebody = api.database.value("select id from zmesh.users where email = 'somebody.else@example.org'")
    theirs = {"authorization": f"Bearer {new_token(somebody, api.project.id)}"}
    with standing_in(api) as jobs:
        mine, mine_again, their = (
            api.call("POST", "/api/functions/greet", headers={**headers, **whose}) for whose in ({}, {}, theirs)
        )
        first, again = api.invoke("keyed", headers=headers), api.invoke("keyed", headers=headers)
        other = api.invoke("keyed", headers={**headers, "x-api-key": other_key})
        dashboard = api.call("POST", "/functions/keyed/invoke", headers=headers)
    assert mine_again.json()["invocation_id"] == mine.json()["invocation_id"] != their.json()["invocation_id"]
    assert again.json()["invocation_id"] == first.json()["invocation_id"]
    assert len({answer.json()["invocation_id"] for answer in (first, other, dashboard)}) == 3
    assert "idempotent-replayed" not in other.headers
    assert len(jobs) == 5


def test_a_key_chosen_in_sql_and_one_chosen_over_http_are_two(api: Api) -> None:
    function = api.deploy()
    [sql] = api.database.enqueue(api.project, idempotency_key="order-1")
    answer = api.invoke(headers={**LATER, "idempotency-key": "order-1"})
    assert answer.json()["invocation_id"] != str(sql)
    assert api.database.enqueue(api.project, idempotency_key="order-1") == []
    scopes = api.database.rows(
        "select scope from zmesh.idempotency_keys where function_id = %s order by scope", function["id"]
    )
    assert [row["scope"].partition(":")[0] for row in scopes] == ["", "key"]
    assert api.database.rows("select 1 from zmesh.invocations where idempotency_scope is not null") == []


@pytest.mark.parametrize(("status", "http"), [("error", 500), ("timeout", 504)])
def test_an_anonymous_caller_gets_the_id_of_a_failure_and_no_detail(api: Api, status: str, http: int) -> None:
    function = api.deploy(auth="none")
    with standing_in(api, lambda job: {"status": status, "error": json.dumps(FAILURE)}):
        answer = anonymously(api, function)
        with_key = api.invoke()
        api.call("PATCH", "/functions/greet", json={"public_errors": True})
        shown = anonymously(api, function)
    assert answer.status_code == http
    id = answer.json()["invocation_id"]
    assert answer.json()["error"] == {
        "type": status,
        "message": f"The function failed. Quote invocation {id} to its owner.",
        "stack": None,
    }
    assert "1234" not in answer.text + str(answer.headers)
    assert with_key.json()["error"] == shown.json()["error"] == FAILURE
    assert api.call("GET", f"/invocations/{id}").json()["error"] == FAILURE


def test_a_webhook_without_a_signature_gets_no_detail_of_a_failure(api: Api) -> None:
    api.deploy()
    created = api.call("POST", "/webhooks", json={"function_id": "greet", "preset": "none", "answer": "result"}).json()
    url = api.url + created["path"]
    with standing_in(api, lambda job: {"status": "error", "error": json.dumps(FAILURE)}):
        answer = httpx.post(url, json={}, timeout=30)
        api.call("PATCH", "/functions/greet", json={"public_errors": True})
        shown = httpx.post(url, json={}, timeout=30)
    assert (answer.status_code, answer.json()["error"]["type"]) == (500, "error")
    assert "1234" not in answer.text
    assert shown.json()["error"] == FAILURE


def test_a_retired_version_runs_by_no_header_retry_alias_or_rollback(api: Api) -> None:
    api.deploy(key_options=["version"])
    api.call("PATCH", "/functions/greet", json={"code": "def handler(payload, zmesh):\n    return 2\n"})
    path = "/functions/greet/versions/1"
    with standing_in(api, lambda job: {"status": "error", "error": json.dumps(FAILURE)}):
        failed = api.invoke(headers={"x-zmesh-version": "1"}).json()["invocation_id"]
    retired = api.call("POST", f"{path}/retire")
    assert (retired.status_code, retired.json()["current"]) == (200, False)
    assert api.call("GET", path).json()["retired_at"] == retired.json()["retired_at"] is not None
    refused(api.invoke(headers={"x-zmesh-version": "1"}), 409, "version_retired")
    refused(api.call("POST", "/functions/greet/invoke?version=1", json={}), 409, "version_retired")
    refused(api.call("POST", f"{path}/rollback"), 409, "version_retired")
    refused(api.call("PUT", "/functions/greet/aliases/live", json={"versions": {"1": 100}}), 409, "version_retired")
    refused(api.call("POST", f"/invocations/{failed}/retry"), 409, "not_retryable")
    assert api.call("POST", "/invocations/retry", json={"ids": [failed]}).json()["items"] == []
    refused(api.call("POST", "/functions/greet/versions/2/retire"), 409, "conflict")
    assert api.call("POST", f"{path}/unretire").json()["retired_at"] is None
    assert api.call("POST", f"/invocations/{failed}/retry").status_code == 200
