"""Bodies in other forms than plain JSON: each is read, or refused in clear words; none becomes null in silence."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from typing import Any

import pytest

from tests.api.client import Api, refused, standing_in
from tests.api.test_triggers import hook, send, sign

TEXT = b'{"n": 1, "text": "\xc3\xa4"}'
VALUE = {"n": 1, "text": "ä"}
BOM = b"\xef\xbb\xbf"
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


def payload(api: Api, body: bytes, content_type: str | None, **headers: str) -> tuple[Any, dict[str, Any]]:
    """Payload and request as the function gets them."""
    sent = {**headers, **({} if content_type is None else {"content-type": content_type})}
    with standing_in(api) as jobs:
        answer = api.invoke(content=body, headers=sent)
    assert answer.status_code == 200, answer.text
    return json.loads(jobs[-1]["payload"]), json.loads(jobs[-1]["request"])


@pytest.mark.parametrize("content_type", [JSON, "text/json", "application/problem+json", "application/vnd.a.b+json"])
@pytest.mark.parametrize("body", [TEXT, BOM + TEXT])
def test_json_is_read_by_each_of_its_names_and_with_a_byte_order_mark(api: Api, content_type: str, body: bytes) -> None:
    api.deploy()
    value, request = payload(api, body, content_type)
    assert value == VALUE
    assert base64.b64decode(request["body_base64"]) == body
    assert "unparsed_reason" not in request


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", gzip.compress(TEXT, mtime=0)),
        ("X-GZIP", gzip.compress(BOM + TEXT, mtime=0)),
        ("deflate", zlib.compress(TEXT)),
        ("identity", TEXT),
    ],
)
def test_a_compressed_body_is_read_and_reaches_the_function_as_it_was_sent(api: Api, coding: str, body: bytes) -> None:
    api.deploy()
    value, request = payload(api, body, JSON, **{"content-encoding": coding})
    assert value == VALUE
    assert base64.b64decode(request["body_base64"]) == body
    with standing_in(api):
        dashboard = api.call(
            "POST",
            "/functions/greet/invoke",
            content=gzip.compress(b'{"payload": [1]}', mtime=0),
            headers={"content-type": JSON, "content-encoding": "gzip"},
        )
    assert dashboard.json()["result"] == [1]


def test_what_any_endpoint_reads_may_be_compressed_and_have_a_byte_order_mark(api: Api) -> None:
    api.deploy()
    for body, coding in (
        (gzip.compress(b'{"timeout_ms": 5}', mtime=0), "gzip"),
        (BOM + b'{"timeout_ms": 6}', "identity"),
    ):
        answer = api.call("PATCH", "/functions/greet", content=body, headers={"content-encoding": coding})
        assert answer.status_code == 200, answer.text
    assert answer.json()["timeout_ms"] == 6


@pytest.mark.parametrize(
    ("coding", "body", "status", "code"),
    [
        ("br", b"x", 415, "unsupported_encoding"),
        ("gzip, gzip", gzip.compress(gzip.compress(TEXT, mtime=0), mtime=0), 415, "unsupported_encoding"),
        ("gzip", TEXT, 400, "malformed_encoding"),
        ("gzip", gzip.compress(TEXT, mtime=0)[:-4], 400, "malformed_encoding"),
        ("gzip", gzip.compress(TEXT, mtime=0) + b"more", 400, "malformed_encoding"),
        ("gzip", gzip.compress(b"[" + b" " * (64 * 1024 * 1024) + b"]", mtime=0), 413, "payload_too_large"),
    ],
)
def test_a_body_that_cannot_be_decompressed_is_refused(
    api: Api, coding: str, body: bytes, status: int, code: str
) -> None:
    api.deploy()
    headers = {"content-type": JSON, "content-encoding": coding}
    refused(api.invoke(content=body, headers=headers), status, code)


@pytest.mark.parametrize("body", [rb"a=\u0000", rb"a=%5Cu0000"])
def test_six_characters_that_look_like_an_escape_are_text(api: Api, body: bytes) -> None:
    api.deploy()
    assert payload(api, body, FORM)[0] == {"a": r"\u0000"}
    assert payload(api, rb"\u0000", "text/plain")[0] == r"\u0000"


@pytest.mark.parametrize(("body", "content_type"), [(b"a=%00", FORM), (b"a\x00b", "text/plain")])
def test_text_with_a_nul_is_refused_in_clear_words(api: Api, body: bytes, content_type: str) -> None:
    api.deploy()
    problem = refused(api.invoke(content=body, headers={"content-type": content_type}), 422, "invalid_input")
    assert "NUL" in problem["detail"]
    assert "application/octet-stream" in problem["hint"]


@pytest.mark.parametrize(
    ("body", "content_type", "reason"),
    [
        (b"\x00\xff", "application/octet-stream", "application/octet-stream"),
        (b"--x--", "multipart/form-data; boundary=x", "multipart/form-data"),
        (b"hello", None, "no Content-Type"),
    ],
)
def test_an_unparsed_body_comes_with_the_reason(api: Api, body: bytes, content_type: str | None, reason: str) -> None:
    api.deploy()
    value, request = payload(api, body, content_type)
    assert value is None
    assert reason in request["unparsed_reason"]
    assert base64.b64decode(request["body_base64"]) == body


def test_the_json_null_is_a_value(api: Api) -> None:
    api.deploy()
    value, request = payload(api, b"null", JSON)
    assert value is None
    assert "unparsed_reason" not in request


@pytest.mark.parametrize(
    ("body", "coding", "reason"),
    [
        (rb'{"id": "evt_1", "text": "\u0000"}', "", "NUL"),
        (rb'{"id": "evt_1", "text": "\ud800"}', "", "surrogate"),
        (b'{"id": "evt_1"', "", "not JSON"),
        (b"\xff", "", "UTF-8"),
        (b"x", "br", "Content-Encoding"),
    ],
)
def test_a_signed_message_is_never_lost_because_of_its_content(api: Api, body: bytes, coding: str, reason: str) -> None:
    webhook = hook(api, "hmac")
    headers = {**sign("hmac", webhook["secret"], body), **({"content-encoding": coding} if coding else {})}
    answer = send(api, webhook, headers, body)
    assert answer.status_code == 202, answer.text
    stored = api.database.row("select * from zmesh.invocations where id = %s", answer.json()["invocation_id"])
    assert stored["payload"] is None
    assert reason in stored["request"]["unparsed_reason"]
    assert base64.b64decode(stored["request"]["body_base64"]) == body


def test_a_compressed_message_is_signed_as_it_was_sent(api: Api) -> None:
    webhook = hook(api, "hmac")
    body = gzip.compress(TEXT, mtime=0)
    answer = send(api, webhook, {**sign("hmac", webhook["secret"], body), "content-encoding": "gzip"}, body)
    stored = api.database.row("select payload from zmesh.invocations where id = %s", answer.json()["invocation_id"])
    assert stored["payload"] == VALUE


def test_the_message_id_of_shopify_and_others_tells_a_message_that_comes_again(api: Api) -> None:
    ids = {
        "shopify": {"x-shopify-event-id": "e1", "x-shopify-topic": "orders/create"},
        "hmac": {"webhook-id": "w1"},
        "shared_secret": {"idempotency-key": "k1"},
    }
    for preset, headers in ids.items():
        webhook = hook(api, preset) if preset == "shopify" else again(api, preset)
        signed = {name: value for name, value in sign(preset, webhook["secret"]).items() if name != "x-message-id"}
        answers = [send(api, webhook, {**signed, **headers}) for _ in range(2)]
        assert [answer.json()["duplicate"] for answer in answers] == [False, True], preset
        if preset == "shopify":
            other = send(api, webhook, {**signed, **headers, "x-shopify-topic": "orders/paid"})
            assert other.json()["duplicate"] is False


def again(api: Api, preset: str) -> dict[str, Any]:
    answer = api.call("POST", "/webhooks", json={"function_id": "greet", "preset": preset})
    created: dict[str, Any] = answer.json()
    return created


def test_an_update_of_telegram_that_comes_again_is_invoked_once(api: Api) -> None:
    webhook = hook(api, "shared_secret")
    headers = {"x-telegram-bot-api-secret-token": webhook["secret"]}
    bodies = [b'{"update_id": 7}', b'{"update_id": 7}', b'{"update_id": 8}']
    answers = [send(api, webhook, headers, body).json()["duplicate"] for body in bodies]
    assert answers == [False, True, False]


def test_a_form_in_another_charset_is_read_in_it(api: Api) -> None:
    api.deploy()
    latin = f"{FORM}; charset=ISO-8859-1"
    assert payload(api, b"a=%E4&b=\xe9", latin)[0] == {"a": "ä", "b": "é"}
    refused(api.invoke(content=b"a=%E4", headers={"content-type": FORM}), 400, "malformed_text")
    refused(api.invoke(content=b"a", headers={"content-type": f"{FORM}; charset=rot13"}), 415, "unsupported_charset")
