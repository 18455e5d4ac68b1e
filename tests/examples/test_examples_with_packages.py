"""The examples with packages, installed from the public registries, deployed and run for real."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from tests.platform import REPOSITORY, Platform

EXAMPLES = REPOSITORY / "examples" / "packages"
SIGNING_KEY, MODEL_KEY = "whsec_4f1c", "sk-test-91"
NAMES = ("ask-model", "invoice-pdf", "notes-fastapi", "notes-hono", "stripe-webhook")  # test_heavy.py has the other one


@pytest.fixture(scope="module")
def platform(running_platform: Platform) -> Platform:
    """With all of them but the one that takes long to install."""
    platform = running_platform.in_project("examples")
    for name, value in {"STRIPE_WEBHOOK_SECRET": SIGNING_KEY, "OPENAI_API_KEY": MODEL_KEY}.items():
        assert platform.request("PUT", f"/secrets/{name}", json={"value": value}).is_success
    said = platform.zmesh("functions", "deploy", *(str(EXAMPLES / name) for name in NAMES), "--project", "examples")
    assert {one["name"]: bool(one["packages"]) for one in json.loads(said)} == dict.fromkeys(NAMES, True)
    return platform


@pytest.mark.timeout(400)
def test_invoice_pdf_has_the_sum_of_its_items(platform: Platform) -> None:
    items = [{"name": "Mug", "cents": 1250, "quantity": 2}, {"name": "Pen", "cents": 181}]
    answer = platform.invoke("invoice-pdf", {"number": "2026-7", "customer": "Ada", "items": items})
    assert answer.headers["content-type"] == "application/pdf"
    assert answer.content.startswith(b"%PDF-1.7")
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", answer.content, re.DOTALL)
    drawn = b"".join(zlib.decompress(stream) for stream in streams if stream.startswith(b"\x78"))
    texts = [bytes.fromhex(text.decode()).decode("cp1252") for text in re.findall(rb"<([0-9A-F]+)> Tj", drawn)]
    assert [text for text in texts if text.endswith("EUR")] == ["25.00 EUR", "1.81 EUR", "26.81 EUR"]
    assert "2 × Mug" in texts
    assert platform.invoke("invoice-pdf", {"number": "1", "customer": "Ada", "items": []}).status_code == 422


def test_stripe_webhook_keeps_each_payment_once_and_refuses_what_stripe_has_not_signed(platform: Platform) -> None:
    payment = {"id": "pi_1", "amount": 1999, "currency": "eur"}
    event = {"id": "evt_1", "object": "event", "type": "payment_intent.succeeded", "data": {"object": payment}}

    def send(body: str, key: str = SIGNING_KEY) -> httpx.Response:
        at = int(time.time())
        signature = hmac.new(key.encode(), f"{at}.{body}".encode(), hashlib.sha256).hexdigest()
        headers = {"stripe-signature": f"t={at},v1={signature}", "content-type": "application/json"}
        return platform.invoke("stripe-webhook", content=body, headers=headers)

    assert [send(json.dumps(event)).json() for _ in range(2)] == [{"event": "kept"}, {"event": "known already"}]
    assert send(json.dumps({**event, "type": "charge.updated"})).json() == {"event": "ignored"}
    refused = send(json.dumps(event), "whsec_wrong")
    assert refused.status_code == 400
    assert "signature" in refused.json()["error"]
    assert platform.sql("select id, amount_cents, currency from payments") == [
        {"id": "pi_1", "amount_cents": 1999, "currency": "eur"}
    ]


def test_two_frameworks_serve_the_same_table(platform: Platform) -> None:
    platform.sql("drop table if exists notes")

    def call(function: str, method: str, path: str, **options: object) -> httpx.Response:
        url = f"{platform.url}/api/functions/{function}{path}"
        return platform.client.request(method, url, headers={"x-api-key": platform.api_key}, **options)  # type: ignore[arg-type]

    functions = ("notes-hono", "notes-fastapi")
    added = [call(one, "POST", "/notes", json={"text": f"by {one}"}) for one in functions]
    assert [(answer.status_code, answer.json()["text"]) for answer in added] == [
        (201, "by notes-hono"),
        (201, "by notes-fastapi"),
    ]
    ids = [answer.json()["id"] for answer in added]
    for one, other in zip(functions, reversed(ids), strict=True):
        assert [note["id"] for note in call(one, "GET", "/notes").json()] == ids
        assert call(one, "POST", "/notes", json={}).status_code == 422
        assert call(one, "GET", f"/notes/{other}").json()["id"] == other
    for one, id in zip(functions, reversed(ids), strict=True):
        assert call(one, "DELETE", f"/notes/{id}").status_code == 204
        assert call(one, "GET", f"/notes/{id}").status_code == 404


def test_ask_model_speaks_to_the_server_that_its_settings_name(platform: Platform) -> None:
    with model_server() as (url, asked):
        platform.zmesh("functions", "update", "ask-model", "--env", f"OPENAI_BASE_URL={url}", "--project", "examples")
        assert platform.result("ask-model", {"message": "Where is my parcel?"}) == {"kind": "delivery"}
    [(key, request)] = asked
    assert key == f"Bearer {MODEL_KEY}"
    assert request["messages"][-1] == {"role": "user", "content": "Where is my parcel?"}


@contextmanager
def model_server() -> Iterator[tuple[str, list[tuple[str | None, dict[str, list[object]]]]]]:
    """A server with OpenAI's API that answers every question with one word."""
    asked: list[tuple[str | None, dict[str, list[object]]]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append((self.headers["Authorization"], body))
            message = {"role": "assistant", "content": " Delivery\n"}
            choice = {"index": 0, "finish_reason": "stop", "message": message}
            answer = {"id": "1", "object": "chat.completion", "choices": [choice], "usage": {"total_tokens": 9}}
            self.send_response(200 if self.path == "/v1/chat/completions" else 404)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, format: str, *arguments: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", asked
    finally:
        server.shutdown()
        server.server_close()
