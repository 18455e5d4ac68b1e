"""Schedules and webhooks over HTTP."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.api.client import Api, refused, standing_in

BODY = b'{"id": "evt_1", "event_id": "Ev1", "n": 1}'


def sign(preset: str, secret: str, body: bytes = BODY, at: float | None = None) -> dict[str, str]:
    """The headers that a sender of this preset adds."""
    timestamp = str(int(at if at is not None else time.time()))

    def hex_of(signed: bytes) -> str:
        return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()

    match preset:
        case "hmac":
            return {"x-signature": f"sha256={hex_of(body)}", "x-message-id": "m1"}
        case "shared_secret":
            return {"authorization": f"Bearer {secret}", "x-message-id": "m1"}
        case "github":
            return {"x-hub-signature-256": f"sha256={hex_of(body)}", "x-github-delivery": "m1"}
        case "shopify":
            digest = hmac.new(secret.encode(), body, hashlib.sha256).digest()
            return {"x-shopify-hmac-sha256": base64.b64encode(digest).decode(), "x-shopify-event-id": "m1"}
        case "stripe":
            signature = hex_of(timestamp.encode() + b"." + body)
            return {"stripe-signature": f"t={timestamp},v1={'0' * 64},v1={signature},v0=x"}
        case "slack":
            signature = hex_of(b"v0:" + timestamp.encode() + b":" + body)
            return {"x-slack-request-timestamp": timestamp, "x-slack-signature": f"v0={signature}"}
        case "standard":
            key = base64.b64decode(secret.removeprefix("whsec_"))
            signed = b"m1." + timestamp.encode() + b"." + body
            signature = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
            return {
                "webhook-id": "m1",
                "webhook-timestamp": timestamp,
                "webhook-signature": f"v1,{'x' * 43}= v1a,zzz v1,{signature}",
            }
    return {}


def hook(api: Api, preset: str, **values: Any) -> dict[str, Any]:
    api.deploy()
    answer = api.call("POST", "/webhooks", json={"function_id": "greet", "preset": preset, **values})
    assert answer.status_code == 201, answer.text
    created: dict[str, Any] = answer.json()
    return created


def send(api: Api, webhook: dict[str, Any], headers: dict[str, str], body: bytes = BODY) -> httpx.Response:
    headers = {"content-type": "application/json", **headers}
    return api.client.post(api.url + webhook["path"], content=body, headers=headers)


PRESETS = ["none", "hmac", "shared_secret", "github", "shopify", "stripe", "slack", "standard"]


@pytest.mark.parametrize("preset", PRESETS)
def test_a_signed_message_is_accepted_and_its_raw_body_reaches_the_function(api: Api, preset: str) -> None:
    webhook = hook(api, preset)
    assert webhook["path"].startswith("/hooks/")
    assert (webhook["secret"] is None) == (preset == "none")
    answer = send(api, webhook, sign(preset, webhook["secret"] or ""))
    assert answer.status_code == 202, answer.text
    assert answer.json()["duplicate"] is False
    with standing_in(api) as jobs:
        while not jobs:
            time.sleep(0.01)
    assert str(jobs[0]["id"]) == answer.json()["invocation_id"]
    assert json.loads(jobs[0]["payload"])["n"] == 1
    assert base64.b64decode(json.loads(jobs[0]["request"])["body_base64"]) == BODY
    shown = api.call("GET", f"/invocations/{jobs[0]['id']}").json()
    assert (shown["source"], shown["max_attempts"]) == ("webhook", 3)


@pytest.mark.parametrize("preset", PRESETS[1:])
def test_a_message_that_is_not_the_senders_is_refused(api: Api, preset: str) -> None:
    webhook = hook(api, preset)
    other = "whsec_" + base64.b64encode(b"x" * 32).decode()
    refused(send(api, webhook, sign(preset, other)), 401, "invalid_signature")
    if preset != "shared_secret":
        refused(send(api, webhook, sign(preset, webhook["secret"]), BODY + b" "), 401, "invalid_signature")
    refused(send(api, webhook, {}), 401, "invalid_signature")
    garbage = {name: "é☃"[:1].encode("latin-1") for name in sign(preset, webhook["secret"])}
    refused(send(api, webhook, garbage), 401, "invalid_signature")  # type: ignore[arg-type]
    assert api.call("GET", "/functions/greet/invocations").json()["items"] == []


@pytest.mark.parametrize("preset", ["stripe", "slack", "standard"])
@pytest.mark.parametrize("seconds", [-600, 600])
def test_a_message_from_another_time_is_refused(api: Api, preset: str, seconds: int) -> None:
    webhook = hook(api, preset)
    headers = sign(preset, webhook["secret"], at=time.time() + seconds)
    refused(send(api, webhook, headers), 401, "stale_signature")


@pytest.mark.parametrize("preset", PRESETS[1:])
def test_a_message_that_comes_again_is_invoked_once(api: Api, preset: str) -> None:
    webhook = hook(api, preset)
    headers = sign(preset, webhook["secret"])
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: send(api, webhook, headers), range(16)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["invocation_id"] for answer in answers}) == 1
    assert sorted(answer.json()["duplicate"] for answer in answers) == [False] + [True] * 15
    assert len(api.call("GET", "/functions/greet/invocations").json()["items"]) == 1


@pytest.mark.parametrize("preset", ["stripe", "slack"])
def test_a_signed_message_without_an_id_cannot_be_sent_again_by_who_recorded_it(api: Api, preset: str) -> None:
    webhook = hook(api, preset)
    body, now = b'{"command": "/deploy"}', time.time()
    recorded = sign(preset, webhook["secret"], body, now)
    answers = [send(api, webhook, headers, body) for headers in (recorded, recorded)]
    answers.append(send(api, webhook, sign(preset, webhook["secret"], body, now + 1), body))
    assert [answer.json()["duplicate"] for answer in answers] == [False, True, False]


@pytest.mark.parametrize("preset", ["hmac", "shared_secret"])
def test_a_sender_may_call_its_message_s_id_an_idempotency_key(api: Api, preset: str) -> None:
    webhook = hook(api, preset)
    headers = {**sign(preset, webhook["secret"]), "idempotency-key": "k1"}
    del headers["x-message-id"]
    assert [send(api, webhook, headers).json()["duplicate"] for _ in range(2)] == [False, True]


def test_messages_without_an_id_are_all_invoked(api: Api) -> None:
    webhook = hook(api, "none")
    assert [send(api, webhook, {}).json()["duplicate"] for _ in range(3)] == [False] * 3
    assert len(api.call("GET", "/functions/greet/invocations").json()["items"]) == 3


def test_slacks_challenge_is_answered_when_it_is_signed(api: Api) -> None:
    webhook = hook(api, "slack")
    body = b'{"type": "url_verification", "challenge": "abc"}'
    answer = send(api, webhook, sign("slack", webhook["secret"], body), body)
    assert (answer.status_code, answer.json()) == (200, {"challenge": "abc"})
    refused(send(api, webhook, {}, body), 401, "invalid_signature")
    assert api.call("GET", "/functions/greet/invocations").json()["items"] == []


@pytest.mark.parametrize("token", ["x", "x" * 500, "%00", "é"])
def test_an_unknown_url_is_404(api: Api, token: str) -> None:
    refused(api.client.post(f"{api.url}/hooks/{token}", content=BODY), 404, "webhook_not_found")


def test_a_webhook_that_is_switched_off_or_deleted_is_404(api: Api) -> None:
    webhook = hook(api, "none")
    api.call("PATCH", f"/webhooks/{webhook['id']}", json={"enabled": False})
    refused(send(api, webhook, {}), 404, "webhook_not_found")
    api.call("PATCH", f"/webhooks/{webhook['id']}", json={"enabled": True})
    assert send(api, webhook, {}).status_code == 202
    assert api.call("DELETE", f"/webhooks/{webhook['id']}").status_code == 204
    refused(send(api, webhook, {}), 404, "webhook_not_found")
    refused(api.call("DELETE", f"/webhooks/{webhook['id']}"), 404, "webhook_not_found")


def test_the_secret_is_shown_once_and_can_be_replaced(api: Api) -> None:
    webhook = hook(api, "stripe", name="payments")
    shown = api.call("GET", f"/webhooks/{webhook['id']}").json()
    assert shown == {name: value for name, value in webhook.items() if name != "secret"}
    assert api.call("GET", "/webhooks").json() == {"items": [shown], "next_cursor": None}
    api.call("PATCH", f"/webhooks/{webhook['id']}", json={"secret": "whsec_from_stripe"})
    refused(send(api, webhook, sign("stripe", webhook["secret"])), 401, "invalid_signature")
    assert send(api, webhook, sign("stripe", "whsec_from_stripe")).status_code == 202
    stored = api.database.value("select sealed_secret from zmesh.webhooks where id = %s", webhook["id"])
    assert b"whsec_from_stripe" not in bytes(stored)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"preset": "carrier-pigeon"}, "preset"),
        ({"preset": "standard", "secret": "no base64!"}, "secret"),
        ({"preset": "none", "secret": "long enough"}, "secret"),
        ({"preset": "hmac", "secret": "short"}, "secret"),
        ({"preset": "github", "signature_header": "x-mine"}, "signature_header"),
        ({"preset": "hmac", "signature_header": "no header"}, "signature_header"),
        ({"replay_window_seconds": 0}, "replay_window_seconds"),
        ({"answer": "later"}, "answer"),
        ({"name": ""}, "name"),
        ({"function_id": 5}, "function_id"),
    ],
)
def test_a_webhook_that_cannot_work_is_refused(api: Api, values: dict[str, Any], field: str) -> None:
    api.deploy()
    refused(api.call("POST", "/webhooks", json={"function_id": "greet", **values}), 422, "invalid_input", field)


def test_webhooks_and_schedules_need_a_function_and_a_free_name(api: Api) -> None:
    hook(api, "none", name="one")
    for path, body in (("/webhooks", {}), ("/schedules", {"cron": "@daily", "name": "one"})):
        values = {"function_id": "greet", "name": "one", **body}
        api.call("POST", path, json=values)
        refused(api.call("POST", path, json=values), 409, "name_taken", "name")
        refused(api.call("POST", path, json={**values, "function_id": "nope"}), 404, "function_not_found")


@pytest.mark.parametrize(
    ("body", "content_type"),
    [(b"{", "application/json"), (b"", "application/json"), (b"a=1", "application/x-www-form-urlencoded")],
)
def test_any_body_of_a_sender_is_taken(api: Api, body: bytes, content_type: str) -> None:
    webhook = hook(api, "none")
    assert send(api, webhook, {"content-type": content_type}, body).status_code == 202


def test_a_schedule_has_defaults_and_says_when_it_is_next_due(api: Api) -> None:
    function = api.deploy()
    answer = api.call("POST", "/schedules", json={"function_id": function["id"], "cron": "*/5 * * * *"})
    assert answer.status_code == 201
    schedule = answer.json()
    defaults = {"timezone": "UTC", "payload": {}, "overlap": "skip", "missed": "once", "enabled": True}
    assert {name: schedule[name] for name in defaults} == defaults
    assert (schedule["function_id"], schedule["function"]) == (function["id"], "greet")
    assert 0 < (datetime.fromisoformat(schedule["next_due_at"]) - datetime.now(UTC)).total_seconds() <= 301
    assert api.call("GET", f"/schedules/{schedule['id']}").json() == schedule
    assert api.call("GET", "/schedules").json()["items"] == [schedule]


def test_a_schedule_can_be_changed_paused_and_deleted(api: Api) -> None:
    api.deploy()
    api.deploy("other")
    path = "/schedules/" + api.call("POST", "/schedules", json={"function_id": "greet", "cron": "@daily"}).json()["id"]
    changes = {"function_id": "other", "cron": "0 3 * * *", "timezone": "Europe/Berlin", "payload": [1], "name": "n"}
    changed = api.call("PATCH", path, json={**changes, "overlap": "queue", "missed": "all", "enabled": False}).json()
    assert (changed["function"], changed["cron"], changed["payload"]) == ("other", "0 3 * * *", [1])
    assert (changed["overlap"], changed["missed"], changed["enabled"]) == ("queue", "all", False)
    assert api.call("DELETE", path).status_code == 204
    refused(api.call("GET", path), 404, "schedule_not_found")


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"cron": "every day"}, "cron"),
        ({"cron": "61 * * * *"}, "cron"),
        ({"cron": "* * * * * *"}, "cron"),
        ({"cron": "0 0 31 2 *"}, "cron"),
        ({"cron": ""}, "cron"),
        ({"cron": None}, "cron"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"overlap": "maybe"}, "overlap"),
        ({"missed": 5}, "missed"),
        ({"enabled": "no"}, "enabled"),
        ({"payload": {"a": "\x00"}}, "payload"),
        ({"colour": "green"}, "colour"),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_a_schedule_that_cannot_fire_is_refused_by_its_field(
    api: Api, method: str, values: dict[str, Any], field: str
) -> None:
    api.deploy()
    good = {"function_id": "greet", "cron": "@daily"}
    if method == "POST":
        answer = api.call("POST", "/schedules", json=good | values)
    else:
        id = api.call("POST", "/schedules", json=good).json()["id"]
        answer = api.call("PATCH", f"/schedules/{id}", json=values)
    refused(answer, 422, "invalid_input", field)


def test_lists_of_schedules_and_webhooks_page_by_name(api: Api) -> None:
    api.deploy()
    for path, body in (("/schedules", {"cron": "@daily"}), ("/webhooks", {})):
        for name in ("c", "a", "b"):
            api.call("POST", path, json={"function_id": "greet", "name": name, **body})
        first = api.call("GET", path, params={"limit": 2}).json()
        rest = api.call("GET", path, params={"limit": 2, "cursor": first["next_cursor"]}).json()
        assert [item["name"] for item in first["items"] + rest["items"]] == ["a", "b", "c"]
        assert rest["next_cursor"] is None
        refused(api.call("GET", f"{path}/{uuid4()}"), 404, f"{path[1:-1]}_not_found")
