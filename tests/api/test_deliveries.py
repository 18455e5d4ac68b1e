"""What webhooks received: kept with verdicts, tried with signed tests, delivered once more."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest
from psycopg.types.json import Jsonb

from api.webhooks import recording
from api.webhooks.recording import RequestLog
from tests.api.client import Api, eventually, refused
from tests.api.test_triggers import BODY, hook, send, sign

PRESETS = ["none", "hmac", "shared_secret", "github", "shopify", "stripe", "slack", "standard"]


def deliveries(api: Api, webhook: dict[str, Any], count: int, **query: Any) -> list[dict[str, Any]]:
    """The recorded ones, once there are so many."""

    def read() -> list[dict[str, Any]] | None:
        items: list[dict[str, Any]] = api.call("GET", f"/webhooks/{webhook['id']}/deliveries", params=query).json()[
            "items"
        ]
        return items if len(items) >= count else None

    found: list[dict[str, Any]] = eventually(read, f"{count} deliveries")
    return found


def one(api: Api, webhook: dict[str, Any], id: str) -> dict[str, Any]:
    found: dict[str, Any] = api.call("GET", f"/webhooks/{webhook['id']}/deliveries/{id}").json()
    return found


def test_accepted_repeated_and_refused_messages_are_kept_with_their_verdicts(api: Api) -> None:
    webhook = hook(api, "github")
    good = {**sign("github", webhook["secret"]), "content-type": "application/json", "x-github-event": "push"}
    first = send(api, webhook, good).json()["invocation_id"]
    send(api, webhook, good)
    send(api, webhook, {**good, "x-hub-signature-256": "sha256=no"})
    refusal, duplicate, accepted = deliveries(api, webhook, 3)
    assert (accepted["verdict"], accepted["status_code"], accepted["invocation_id"]) == ("accepted", 202, first)
    assert accepted["message_id"] == "m1"
    assert accepted["headers"]["x-github-event"] == "push"
    assert accepted["invocation_status"] == "queued"
    assert (duplicate["verdict"], duplicate["invocation_id"]) == ("duplicate", first)
    assert (refusal["verdict"], refusal["status_code"], refusal["code"]) == ("refused", 401, "invalid_signature")
    assert refusal["detail"] == "The signature does not match the body."
    assert refusal["headers"]["x-hub-signature-256"] == "sha256=no"
    assert "body" not in refusal
    for delivery in (accepted, refusal):
        assert one(api, webhook, delivery["id"])["body"] == BODY.decode()
    assert [item["id"] for item in deliveries(api, webhook, 1, verdict="refused")] == [refusal["id"]]


@pytest.mark.parametrize("named", [None, "x-our-secret"])
def test_a_secret_in_another_header_than_it_belongs_into_is_not_kept(api: Api, named: str | None) -> None:
    """Whoever looks for the mistake of a sender may be a viewer."""
    webhook = hook(api, "shared_secret", **({} if named is None else {"signature_header": named}))
    secret = webhook["secret"]
    send(api, webhook, {"x-webhook-secret": "no", "x-gitlab-token": secret, "authorization": f"Bearer {secret}"})
    [refusal] = deliveries(api, webhook, 1)
    assert refusal["verdict"] == "refused"
    assert secret not in str(one(api, webhook, refusal["id"]))


def test_a_secret_in_a_header_is_not_kept(api: Api) -> None:
    webhook = hook(api, "shared_secret")
    send(api, webhook, {"x-webhook-secret": "a secret that somebody mistyped"})
    send(api, webhook, sign("shared_secret", webhook["secret"]))
    accepted, refusal = deliveries(api, webhook, 2)
    assert "x-webhook-secret" not in refusal["headers"]
    assert "authorization" not in accepted["headers"]


def test_a_large_body_of_a_refused_message_is_not_kept(api: Api) -> None:
    webhook = hook(api, "github")
    body = b"x" * (recording.LARGEST_BODY_KEPT + 1)
    send(api, webhook, {"x-hub-signature-256": "no"}, body)
    [refusal] = deliveries(api, webhook, 1)
    assert (one(api, webhook, refusal["id"])["body"], refusal["body_size"]) == (None, len(body))
    path = f"/webhooks/{webhook['id']}/deliveries/{refusal['id']}/redeliver"
    refused(api.call("POST", path), 409, "not_kept")


@pytest.mark.parametrize("preset", PRESETS)
def test_a_test_message_is_signed_as_the_sender_signs(api: Api, preset: str) -> None:
    webhook = hook(api, preset)
    answer = api.call("POST", f"/webhooks/{webhook['id']}/test", json={"payload": {"n": [1]}})
    assert answer.status_code == 202, answer.text
    delivery = answer.json()
    assert (delivery["verdict"], delivery["test"], delivery["body"]) == ("accepted", True, '{"n":[1]}')
    invocation = api.call("GET", f"/invocations/{delivery['invocation_id']}").json()
    assert (invocation["payload"], invocation["source"]) == ({"n": [1]}, "webhook")
    assert webhook["secret"] is None or webhook["secret"] not in answer.text
    signature = sign(preset, webhook["secret"] or "", delivery["body"].encode())
    for name, value in signature.items():
        if preset in ("github", "shopify") and "sha256" in name:
            assert delivery["headers"][name] == value


def test_a_delivery_says_what_its_body_is_about_and_how_it_begins(api: Api) -> None:
    webhook = hook(api, "none")
    for body in (
        {"id": "evt_1", "data": {"amount": 1250}, "type": "invoice.paid"},
        {"type": "event_callback", "event": {"type": "app_mention"}},
        {"event": "issue.opened"},
        {"type": 7, "name": "n" * 300},
        ["no object"],
    ):
        send(api, webhook, {}, json.dumps(body).encode())
    found = deliveries(api, webhook, 5)[::-1]
    assert [one["event"] for one in found] == ["invoice.paid", "app_mention", "issue.opened", None, None]
    assert found[4]["beginning"] == '["no object"]'
    assert len(found[3]["beginning"]) == 200


def test_a_message_is_delivered_once_more_by_request(api: Api) -> None:
    webhook = hook(api, "hmac")
    first = send(api, webhook, sign("hmac", webhook["secret"])).json()["invocation_id"]
    [accepted] = deliveries(api, webhook, 1)
    again = api.call("POST", f"/webhooks/{webhook['id']}/deliveries/{accepted['id']}/redeliver").json()
    assert again["invocation_id"] != first
    stored = "select payload, request::text from zmesh.invocations where id = %s"
    assert api.database.row(stored, again["invocation_id"]) == api.database.row(stored, first)


def test_a_refused_message_is_accepted_later_only_if_the_present_secret_fits(api: Api) -> None:
    webhook = hook(api, "stripe")
    mistaken = "whsec_of_another"
    assert send(api, webhook, sign("stripe", mistaken, at=1)).status_code == 401
    [refusal] = deliveries(api, webhook, 1)
    path = f"/webhooks/{webhook['id']}/deliveries/{refusal['id']}/redeliver"
    refused(api.call("POST", path), 401, "invalid_signature")
    assert api.call("PATCH", f"/webhooks/{webhook['id']}", json={"secret": mistaken}).status_code == 200
    answer = api.call("POST", path)
    assert answer.status_code == 202, answer.text
    assert api.call("GET", f"/invocations/{answer.json()['invocation_id']}").json()["payload"]["id"] == "evt_1"
    api.call("PATCH", f"/webhooks/{webhook['id']}", json={"enabled": False})
    refused(api.call("POST", path), 409, "webhook_disabled")


def test_of_each_webhook_a_bounded_number_of_requests_is_kept(api: Api) -> None:
    webhook = hook(api, "none")
    row = """select jsonb_agg(jsonb_build_object('id', zmesh.new_id(), 'webhook_id', %s::text, 'body_size', 1,
                    'status_code', 401, 'test', false, 'verdict', 'refused', 'client', ''))
               from generate_series(1, 400)"""
    for _ in range(2):
        api.database.rows("select zmesh.record_webhook_requests(%s)", Jsonb(api.database.value(row, webhook["id"])))
    kept = "select count(*) from zmesh.webhook_requests where webhook_id = %s"
    assert api.database.value(kept, webhook["id"]) == 500
    api.call("DELETE", f"/webhooks/{webhook['id']}")
    assert api.database.value(kept, webhook["id"]) == 0


def test_who_sends_too_fast_is_recorded_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    log = RequestLog(None)  # type: ignore[arg-type]
    monkeypatch.setattr("time.monotonic", lambda: 7.0)
    id, other = uuid4(), uuid4()
    assert [log.has_room(id) for _ in range(25)].count(True) == recording.EACH_PER_SECOND
    assert log.has_room(other)
    monkeypatch.setattr("time.monotonic", lambda: 8.0)
    assert log.has_room(id)


def test_deliveries_of_other_projects_do_not_exist(api: Api, stranger: Api) -> None:
    webhook = hook(stranger, "none")
    for method, path in (("GET", "deliveries"), ("POST", "test")):
        refused(api.call(method, f"/webhooks/{webhook['id']}/{path}", json={}), 404, "webhook_not_found")
