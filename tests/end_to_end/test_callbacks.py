"""Callbacks from a real listener to a real receiver, which checks them with the library of Standard Webhooks."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import standardwebhooks

from tests.platform import Parts, Platform, eventually

LOOPBACK = "127.0.0.0/8"


@dataclass
class Receiver:
    """Takes what is posted; with `status` 0 it does not answer before the test ends."""

    status: int = 200
    received: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def last(self, secret: str) -> dict[str, Any]:
        """The last message, its signature checked."""
        headers, body = self.received[-1]
        verified: dict[str, Any] = standardwebhooks.Webhook(secret).verify(body, headers)
        return verified


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            receiver.received.append(({name.lower(): value for name, value in self.headers.items()}, body))
            if receiver.status == 0:
                receiver.over.wait()
                return
            self.send_response(receiver.status)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver.url = f"http://127.0.0.1:{server.server_port}/ended"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield receiver
    receiver.over.set()
    server.shutdown()
    server.server_close()


def callback(platform: Platform, id: str) -> dict[str, Any]:
    found: dict[str, Any] = platform.request("GET", f"/invocations/{id}").json()["callback"]
    return found


def stands(platform: Platform, id: str, status: str) -> dict[str, Any]:
    """The callback, once it has this status and its last try is over."""

    def look() -> dict[str, Any] | None:
        found = callback(platform, id)
        return found if found["status"] == status and (status != "pending" or found["last_error"]) else None

    return eventually(look, f"a callback that is {status}")


def invoke(platform: Platform, receiver: Receiver) -> str:
    headers = {"x-zmesh-callback-url": receiver.url, "prefer": "respond-async"}
    answer = platform.invoke("greet", {"name": "Ada"}, headers=headers)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["invocation_id"])


def deploy(parts: Parts) -> Platform:
    parts.platform.deploy("greet", "def handler(payload, zmesh):\n    return payload\n")
    allowed = parts.platform.request("PATCH", "/functions/greet", json={"key_options": ["callback_url"]})
    assert allowed.status_code == 200, allowed.text
    return parts.platform


def rotate(platform: Platform) -> str:
    return str(json.loads(platform.zmesh("callbacks", "rotate", "--output", "json"))["secret"])


@pytest.mark.timeout(180)
def test_a_callback_is_signed_with_both_secrets_and_repeated_until_accepted(parts: Parts, receiver: Receiver) -> None:
    platform = deploy(parts)
    secrets = rotate(platform), rotate(platform)
    receiver.status = 503
    id = invoke(platform, receiver)
    assert callback(platform, id)["status"] == "waiting"
    parts.start_listener(20, ZMESH_CALLBACK_NETWORKS=LOOPBACK)
    failed = stands(platform, id, "pending")
    assert (failed["last_status_code"], failed["last_error"]) == (503, "the answer was 503")
    receiver.status = 204
    parts.database.rows("update zmesh.callbacks set next_attempt_at = now() where status = 'pending'")
    delivered = stands(platform, id, "delivered")
    assert (delivered["last_status_code"], delivered["last_error"]) == (204, None)
    for secret in secrets:
        message = receiver.last(secret)
        assert message["type"] == "invocation.success"
        assert (message["data"]["invocation_id"], message["data"]["result"]) == (id, {"name": "Ada"})
    (first, _), (last, _) = receiver.received[0], receiver.received[-1]
    assert first["webhook-id"] == last["webhook-id"]
    assert last["traceparent"] == platform.request("GET", f"/invocations/{id}").json()["traceparent"]


@pytest.mark.timeout(180)
def test_a_callback_outlives_the_listener_that_sends_it(parts: Parts, receiver: Receiver) -> None:
    platform = deploy(parts)
    secret = rotate(platform)
    receiver.status = 0
    listener = parts.start_listener(20, ZMESH_CALLBACK_NETWORKS=LOOPBACK)
    id = invoke(platform, receiver)
    eventually(lambda: receiver.received, "the first try")
    listener.kill()
    assert callback(platform, id)["status"] == "pending"
    receiver.status = 200
    # Instead of waiting for its minute.
    parts.database.rows("update zmesh.callbacks set next_attempt_at = now() where status = 'pending'")
    parts.start_listener(20, ZMESH_CALLBACK_NETWORKS=LOOPBACK)
    assert stands(platform, id, "delivered")["attempts"] == 2
    assert receiver.last(secret)["data"]["invocation_id"] == id


@pytest.mark.timeout(180)
def test_nothing_is_sent_to_internal_addresses_unless_allowed(parts: Parts, receiver: Receiver) -> None:
    platform = deploy(parts)
    parts.start_listener(20)
    refused = stands(platform, invoke(platform, receiver), "failed")
    assert "not on the public internet" in refused["last_error"]
    assert receiver.received == []
    answer = platform.invoke("greet", headers={"x-zmesh-callback-url": "ftp://example.org/"})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_header")
    assert platform.request("GET", "/callbacks/secret").json()["created_at"] is not None  # made when it was needed
