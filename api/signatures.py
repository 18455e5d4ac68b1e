"""How senders of webhooks prove who they are, preset by preset."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from api.problems import Problem, invalid

TOLERANCE_SECONDS = 300
STANDARD_PREFIX = "whsec_"
LONGEST_MESSAGE_ID = 255

Headers = Mapping[str, str]


def verified_message_id(preset: str, secret: str, headers: Headers, body: bytes) -> str | None:
    """The sender's own id of the message, where the preset has one. Raises Problem 401.

    `headers` by lower-case names.
    """
    message_id = _PRESETS[preset](secret, headers, body)
    if message_id is not None and len(message_id) > LONGEST_MESSAGE_ID:
        return hashlib.sha256(message_id.encode()).hexdigest()
    return message_id


def new_secret(preset: str) -> str | None:
    """A fresh secret in the form the preset's senders take; None where nothing is signed."""
    if preset == "none":
        return None
    if preset == "standard":
        return STANDARD_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()
    return secrets.token_urlsafe(32)


def check_secret(preset: str, secret: str) -> None:
    """Raises Problem 422 for a secret that the preset cannot use."""
    if preset == "none":
        raise invalid("secret", "the preset none has no secret")
    if preset == "standard":
        try:
            _standard_key(secret)
        except (binascii.Error, ValueError) as error:
            raise invalid("secret", "must be whsec_ and base64, as Standard Webhooks writes secrets") from error


def slack_challenge(body: bytes) -> str | None:
    """What Slack wants to hear back when the URL is entered there; None for every other message."""
    message = _json_object(body)
    challenge = message.get("challenge")
    return challenge if message.get("type") == "url_verification" and isinstance(challenge, str) else None


def _none(secret: str, headers: Headers, body: bytes) -> str | None:
    return None


def _hmac(secret: str, headers: Headers, body: bytes) -> str | None:
    given = _header(headers, "x-signature", "x-signature-256").removeprefix("sha256=").lower()
    _demand_equal([given], _hex(secret, body))
    return headers.get("x-message-id") or None


def _github(secret: str, headers: Headers, body: bytes) -> str | None:
    _demand_equal([_header(headers, "x-hub-signature-256")], f"sha256={_hex(secret, body)}")
    return headers.get("x-github-delivery") or None


def _stripe(secret: str, headers: Headers, body: bytes) -> str | None:
    parts = [part.strip().partition("=") for part in _header(headers, "stripe-signature").split(",")]
    timestamp = next((value for name, _, value in parts if name == "t"), "")
    _demand_fresh(timestamp)
    expected = _hex(secret, timestamp.encode() + b"." + body)
    _demand_equal([value for name, _, value in parts if name == "v1"], expected)
    return _text(_json_object(body).get("id"))


def _slack(secret: str, headers: Headers, body: bytes) -> str | None:
    timestamp = _header(headers, "x-slack-request-timestamp")
    _demand_fresh(timestamp)
    expected = _hex(secret, b"v0:" + timestamp.encode() + b":" + body)
    _demand_equal([_header(headers, "x-slack-signature")], f"v0={expected}")
    return _text(_json_object(body).get("event_id"))


def _standard(secret: str, headers: Headers, body: bytes) -> str | None:
    message_id = _header(headers, "webhook-id", "svix-id")
    timestamp = _header(headers, "webhook-timestamp", "svix-timestamp")
    _demand_fresh(timestamp)
    signed = f"{message_id}.{timestamp}.".encode() + body
    expected = base64.b64encode(hmac.digest(_standard_key(secret), signed, "sha256")).decode()
    given = _header(headers, "webhook-signature", "svix-signature").split()
    _demand_equal([value for version, _, value in (one.partition(",") for one in given) if version == "v1"], expected)
    return message_id


_PRESETS: dict[str, Callable[[str, Headers, bytes], str | None]] = {
    "none": _none,
    "hmac": _hmac,
    "github": _github,
    "stripe": _stripe,
    "slack": _slack,
    "standard": _standard,
}


def _hex(secret: str, signed: bytes) -> str:
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def _standard_key(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix(STANDARD_PREFIX), validate=True)


def _header(headers: Headers, *names: str) -> str:
    for name in names:
        if headers.get(name):
            return headers[name]
    raise Problem(401, "invalid_signature", f"The header {names[0]} is missing.")


def _demand_equal(given: list[str], expected: str) -> None:
    # No short cut at the first match: the time must not tell which one was near.
    matches = [hmac.compare_digest(one.encode(), expected.encode()) for one in given]
    if not any(matches):
        raise Problem(
            401,
            "invalid_signature",
            "The signature does not fit the body.",
            "Check that the sender signs with this webhook's secret, and that nothing on the way changes the body.",
        )


def _demand_fresh(timestamp: str) -> None:
    if not timestamp.isascii() or not timestamp.isdecimal() or len(timestamp) > 12:
        raise Problem(401, "invalid_signature", "The signature has no timestamp.")
    if abs(time.time() - int(timestamp)) > TOLERANCE_SECONDS:
        raise Problem(
            401, "stale_signature", f"The signature is more than {TOLERANCE_SECONDS // 60} minutes old or ahead."
        )


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value and "\x00" not in value else None
