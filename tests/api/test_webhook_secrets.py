"""Webhooks: rotation of secrets, headers of one's own, the replay window, and answers that wait for the function."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.api.client import Api, refused, response, standing_in
from tests.api.test_triggers import BODY, PRESETS, hook, send, sign


def rotated(api: Api, webhook: dict[str, Any], **values: Any) -> dict[str, Any]:
    answer = api.call("POST", f"/webhooks/{webhook['id']}/rotate", json=values)
    assert answer.status_code == 200, answer.text
    result: dict[str, Any] = answer.json()
    return result


@pytest.mark.parametrize("preset", PRESETS[1:])
def test_both_secrets_are_good_until_the_old_ones_time_is_over(api: Api, preset: str) -> None:
    webhook = hook(api, preset)
    new = rotated(api, webhook, grace_seconds=600)
    assert new["secret"] != webhook["secret"]
    assert new["previous_secret_valid_until"] is not None
    for secret in (webhook["secret"], new["secret"]):
        assert send(api, webhook, sign(preset, secret)).status_code == 202
    past = "update zmesh.webhooks set previous_secret_valid_until = now() - interval '1 second' where id = %s"
    api.database.rows(past, webhook["id"])
    refused(send(api, webhook, sign(preset, webhook["secret"])), 401, "invalid_signature")
    assert send(api, webhook, sign(preset, new["secret"])).status_code == 202
    assert api.call("GET", f"/webhooks/{webhook['id']}").json()["previous_secret_valid_until"] is None


def test_a_third_secret_ends_the_first_one_and_no_grace_ends_it_at_once(api: Api) -> None:
    webhook = hook(api, "hmac")
    second = rotated(api, webhook)
    third = rotated(api, webhook, secret="chosen by the sender")
    assert third["secret"] == "chosen by the sender"
    refused(send(api, webhook, sign("hmac", webhook["secret"])), 401, "invalid_signature")
    assert send(api, webhook, sign("hmac", second["secret"])).status_code == 202
    fourth = rotated(api, webhook, grace_seconds=0)
    assert fourth["previous_secret_valid_until"] is None
    refused(send(api, webhook, sign("hmac", third["secret"])), 401, "invalid_signature")
    assert send(api, webhook, sign("hmac", fourth["secret"])).status_code == 202


def test_replacing_a_secret_ends_every_one_before(api: Api) -> None:
    webhook = hook(api, "hmac")
    second = rotated(api, webhook)
    changed = api.call("PATCH", f"/webhooks/{webhook['id']}", json={"secret": "chosen by the sender"}).json()
    assert changed["previous_secret_valid_until"] is None
    for secret in (webhook["secret"], second["secret"]):
        refused(send(api, webhook, sign("hmac", secret)), 401, "invalid_signature")


def test_an_invalid_rotation_is_refused(api: Api, stranger: Api) -> None:
    webhook = hook(api, "none")
    path = f"/webhooks/{webhook['id']}/rotate"
    refused(api.call("POST", path, json={}), 422, "invalid_input")
    refused(api.call("POST", path, json={"grace_seconds": -1}), 422, "invalid_input", "grace_seconds")
    refused(stranger.call("POST", path, json={}), 404, "webhook_not_found")
    standard = hook_again(api, "standard")
    refused(
        api.call("POST", f"/webhooks/{standard['id']}/rotate", json={"secret": "no base64!"}),
        422,
        "invalid_input",
        "secret",
    )
    api.change_role("viewer")
    refused(api.call("POST", path, json={}), 403, "forbidden")


def hook_again(api: Api, preset: str, **values: Any) -> dict[str, Any]:
    """Another webhook of the function that is there already."""
    answer = api.call("POST", "/webhooks", json={"function_id": "greet", "preset": preset, **values})
    assert answer.status_code == 201, answer.text
    created: dict[str, Any] = answer.json()
    return created


def test_a_secret_that_is_too_short_is_refused_with_how_long_it_has_to_be(api: Api) -> None:
    answer = api.call("POST", "/webhooks", json={"function_id": "echo", "preset": "hmac", "secret": "short"})
    assert answer.status_code == 422, answer.text
    assert answer.json()["detail"] == "secret: Text should have at least 8 characters, not 5"


def test_secrets_of_the_past_are_deleted(api: Api) -> None:
    webhook = hook(api, "hmac")
    rotated(api, webhook)
    api.database.rows("update zmesh.webhooks set previous_secret_valid_until = now() where id = %s", webhook["id"])
    api.database.rows("select zmesh.delete_rest()")
    assert api.database.value("select sealed_previous_secret from zmesh.webhooks where id = %s", webhook["id"]) is None


@pytest.mark.parametrize("encoding", ["hex", "base64"])
def test_an_hmac_may_come_in_a_header_of_the_senders_own(api: Api, encoding: str) -> None:
    webhook = hook(api, "hmac", signature_header="X-Shopify-Hmac-Sha256")
    digest = hmac.digest(webhook["secret"].encode(), BODY, hashlib.sha256)
    signature = digest.hex().upper() if encoding == "hex" else base64.b64encode(digest).decode()
    assert send(api, webhook, {"x-shopify-hmac-sha256": signature}).status_code == 202
    problem = refused(send(api, webhook, {"x-signature": signature}), 401, "invalid_signature")
    assert problem["detail"] == "The header x-shopify-hmac-sha256 is missing."


@pytest.mark.parametrize(
    "headers",
    [
        {"x-webhook-secret": "{}"},
        {"x-gitlab-token": "{}"},
        {"x-telegram-bot-api-secret-token": "{}"},
        {"authorization": "Bearer {}"},
    ],
)
def test_a_shared_secret_is_checked_and_does_not_reach_the_function(api: Api, headers: dict[str, str]) -> None:
    webhook = hook(api, "shared_secret")
    [(name, pattern)] = headers.items()
    answer = send(api, webhook, {name: pattern.format(webhook["secret"]), "x-other": "stays"})
    assert answer.status_code == 202, answer.text
    stored = api.database.value(
        "select request::text from zmesh.invocations where id = %s", answer.json()["invocation_id"]
    )
    assert webhook["secret"] not in stored
    assert json.loads(stored)["headers"]["x-other"] == "stays"
    problem = refused(send(api, webhook, {name: pattern.format("not it")}), 401, "invalid_signature")
    assert webhook["secret"] not in json.dumps(problem)


def test_the_replay_window_is_as_wide_as_it_is_set(api: Api) -> None:
    webhook = hook(api, "standard", replay_window_seconds=3600)
    assert send(api, webhook, sign("standard", webhook["secret"], at=time.time() - 3000)).status_code == 202
    api.call("PATCH", f"/webhooks/{webhook['id']}", json={"replay_window_seconds": 10})
    late = send(api, webhook, sign("standard", webhook["secret"], at=time.time() - 3000))
    problem = refused(late, 401, "stale_signature")
    assert "signed 3000 seconds ago; 10 are allowed" in problem["detail"].replace("3001", "3000")


def test_a_webhook_that_answers_with_the_result_waits_for_the_function(api: Api) -> None:
    webhook = hook(api, "hmac", answer="result")
    headers = sign("hmac", webhook["secret"])
    with standing_in(api) as jobs, ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: send(api, webhook, headers), range(4)))
    assert {answer.status_code for answer in answers} == {200}
    assert all(answer.json()["result"] == json.loads(BODY) for answer in answers)
    assert sum("idempotent-replayed" in answer.headers for answer in answers) == 3
    assert len(jobs) == 1
    assert jobs[0]["max_attempts"] == 1


def test_the_functions_own_response_or_failure_is_the_answer(api: Api) -> None:
    webhook = hook(api, "none", answer="result")
    api.call("PATCH", "/functions/greet", json={"public_errors": True})

    def answered(outcome: dict[str, Any]) -> httpx.Response:
        with standing_in(api, lambda job: outcome):
            return send(api, webhook, {})

    raw = answered(response(201, {"x-a": "b"}, base64.b64encode(b"hi").decode()))
    assert (raw.status_code, raw.headers["x-a"], raw.content) == (201, "b", b"hi")
    failed = answered({"status": "error", "error": json.dumps({"type": "ValueError", "message": "no", "stack": None})})
    assert (failed.status_code, failed.json()["error"]["type"]) == (500, "ValueError")


def test_query_headers_and_trace_of_the_sender_reach_the_function(api: Api) -> None:
    webhook = hook(api, "none")
    headers = {"x-mine": "1", "traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
    answer = api.client.post(f"{api.url}{webhook['path']}?a=1&a=2&b=", content=b"\x00\xff", headers=headers)
    stored = api.database.row("select * from zmesh.invocations where id = %s", answer.json()["invocation_id"])
    assert stored["request"]["query"] == {"a": ["1", "2"], "b": [""]}
    assert stored["request"]["headers"]["x-mine"] == "1"
    assert base64.b64decode(stored["request"]["body_base64"]) == b"\x00\xff"
    assert stored["traceparent"] == headers["traceparent"]


def test_webhooks_can_be_looked_up_by_name(api: Api) -> None:
    hook(api, "none", name="one")
    hook_again(api, "none", name="two")
    assert [item["name"] for item in api.call("GET", "/webhooks?name=two").json()["items"]] == ["two"]
    assert api.call("GET", "/webhooks?name=%00").json()["items"] == []
