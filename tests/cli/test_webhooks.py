"""`zmesh webhooks …` as a person types it, against a running platform."""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.platform import Platform

FUNCTION = "greet-by-webhook"
BODY = b'{"n": 1}'


@pytest.fixture(scope="module")
def platform(running_platform: Platform) -> Iterator[Platform]:
    """With a function for the webhooks; both are gone afterwards."""
    running_platform.deploy(FUNCTION, "def handler(payload, zmesh):\n    return payload\n")
    yield running_platform
    running_platform.request("DELETE", f"/functions/{FUNCTION}")


def zmesh(platform: Platform, *arguments: str) -> Any:
    return json.loads(platform.zmesh("webhooks", *arguments, "--output", "json"))


def send(platform: Platform, webhook: dict[str, Any], secret: str) -> int:
    headers = {"x-mine": hmac.new(secret.encode(), BODY, "sha256").hexdigest(), "content-type": "application/json"}
    return platform.client.post(webhook["url"], content=BODY, headers=headers).status_code


def test_a_webhook_from_creation_to_deletion(platform: Platform) -> None:
    settings = ("--preset", "hmac", "--name", "cli-parcels", "--signature-header", "X-Mine", "--answer", "result")
    created = zmesh(platform, "create", FUNCTION, *settings)
    assert send(platform, created, created["secret"]) == 200
    assert "secret" not in zmesh(platform, "show", "cli-parcels")
    shown = platform.zmesh("webhooks", "rotate", "cli-parcels", "--grace", "600", "--output", "table")
    secret = next(line.split()[1] for line in shown.splitlines() if line.strip().startswith("secret"))
    assert [send(platform, created, each) for each in (created["secret"], secret)] == [200, 200]
    assert zmesh(platform, "update", "cli-parcels", "--answer", "accepted")["answer"] == "accepted"
    assert zmesh(platform, "disable", "cli-parcels")["enabled"] is False
    assert send(platform, created, secret) == 404
    assert zmesh(platform, "enable", created["id"])["enabled"] is True
    assert zmesh(platform, "update", created["id"], "--name", "post")["name"] == "post"
    assert send(platform, created, secret) == 202
    assert created["path"] in [found["path"] for found in zmesh(platform, "list")]
    assert zmesh(platform, "delete", "post", "--yes")["action"] == "deleted"
    said = platform.zmesh("webhooks", "show", "post", status=1)
    assert 'There is no webhook "post". [webhook_not_found]' in said


def test_an_invalid_webhook_is_refused_with_the_reason(platform: Platform) -> None:
    said = platform.zmesh("webhooks", "create", FUNCTION, "--preset", "standard", "--secret", "no base64!", status=1)
    assert "must be whsec_ followed by base64" in said
    said = platform.zmesh("webhooks", "update", "nobody", status=2)
    assert "Nothing to change: give at least one option." in said
