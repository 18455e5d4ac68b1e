"""Verification of the senders of webhooks, preset by preset."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from api.http.problems import Problem, invalid
from support import standard_webhooks

WITH_OWN_HEADER = ("hmac", "shared_secret")
SECRET_HEADERS = ("x-webhook-secret", "x-gitlab-token", "x-telegram-bot-api-secret-token", "authorization")
LONGEST_MESSAGE_ID = 255
HEX_LENGTH = 64
NULL = msgspec.Raw(b"null")

Headers = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Rules:
    """What a message has to satisfy: any of the secrets is good, timestamps may be `window` seconds off."""

    preset: str
    secrets: Sequence[str]
    window: int
    header: str | None


def verified_message_id(rules: Rules, headers: Headers, body: bytes) -> str | None:
    """The sender's own id of the message, where the preset has one. Raises Problem 401.

    `headers` by lower-case names.
    """
    message_id = _PRESETS[rules.preset](rules, headers, body)
    if message_id is not None and len(message_id) > LONGEST_MESSAGE_ID:
        return hashlib.sha256(message_id.encode()).hexdigest()
    return message_id


def new_secret(preset: str) -> str | None:
    """A fresh secret in the form the preset's senders take; None where nothing is signed."""
    if preset == "none":
        return None
    if preset == "standard":
        return standard_webhooks.new_secret()
    return secrets.token_urlsafe(32)


def check_secret(preset: str, secret: str) -> None:
    """Raises Problem 422 for a secret that the preset cannot use."""
    if preset == "none":
        raise invalid("secret", "the preset none has no secret")
    if preset == "standard":
        try:
            standard_webhooks.key_of(secret)
        except ValueError as error:
            raise invalid("secret", "must be whsec_ followed by base64, as in Standard Webhooks") from error


def slack_challenge(body: bytes) -> str | None:
    """What Slack wants to hear back when the URL is entered there; None for every other message."""
    message = _message(body)
    return _text(message.challenge) if _text(message.type) == "url_verification" else None


def secret_header_of(preset: str, header: str | None, headers: Headers) -> str | None:
    """The header that carries the secret itself, which is not the function's business; None where nothing does."""
    if preset != "shared_secret":
        return None
    return next((name for name in _secret_headers(header) if headers.get(name)), None)


def possible_secret_headers(preset: str, header: str | None) -> tuple[str, ...]:
    """Headers in which a misconfigured sender may have sent the secret."""
    if preset != "shared_secret":
        return ()
    return SECRET_HEADERS if header is None else (*SECRET_HEADERS, header)


def _secret_headers(header: str | None) -> tuple[str, ...]:
    return SECRET_HEADERS if header is None else (header,)


def _none(rules: Rules, headers: Headers, body: bytes) -> str | None:
    return None


def _shared_secret(rules: Rules, headers: Headers, body: bytes) -> str | None:
    sent = _header(headers, *_secret_headers(rules.header))
    scheme, _, token = sent.partition(" ")
    sent = token.strip() if scheme.lower() == "bearer" else sent
    _require_equal([sent], rules.secrets, "The secret in the header is wrong.")
    return _own_id(headers) or _id_of_telegram(headers, body)


def _hmac(rules: Rules, headers: Headers, body: bytes) -> str | None:
    names = ("x-signature", "x-signature-256") if rules.header is None else (rules.header,)
    sent = _header(headers, *names).removeprefix("sha256=")
    digests = [hmac.digest(secret.encode(), body, "sha256") for secret in rules.secrets]
    if len(sent) == HEX_LENGTH:
        _require_equal([sent.lower()], [digest.hex() for digest in digests])
    else:
        _require_equal([sent], [base64.b64encode(digest).decode() for digest in digests])
    return _own_id(headers)


def _shopify(rules: Rules, headers: Headers, body: bytes) -> str | None:
    digests = [hmac.digest(secret.encode(), body, "sha256") for secret in rules.secrets]
    sent = _header(headers, "x-shopify-hmac-sha256")
    _require_equal([sent], [base64.b64encode(digest).decode() for digest in digests])
    return _own_id(headers)


def _github(rules: Rules, headers: Headers, body: bytes) -> str | None:
    sent = _header(headers, "x-hub-signature-256")
    _require_equal([sent], [f"sha256={_hex(secret, body)}" for secret in rules.secrets])
    return headers.get("x-github-delivery") or None


def _stripe(rules: Rules, headers: Headers, body: bytes) -> str | None:
    parts = [part.strip().partition("=") for part in _header(headers, "stripe-signature").split(",")]
    timestamp = next((value for name, _, value in parts if name == "t"), "")
    _require_fresh(timestamp, rules.window)
    signed = timestamp.encode() + b"." + body
    sent = [value for name, _, value in parts if name == "v1"]
    _require_equal(sent, [_hex(secret, signed) for secret in rules.secrets])
    return _text(_message(body).id) or _id_of_signed(signed)


def _slack(rules: Rules, headers: Headers, body: bytes) -> str | None:
    timestamp = _header(headers, "x-slack-request-timestamp")
    _require_fresh(timestamp, rules.window)
    signed = b"v0:" + timestamp.encode() + b":" + body
    _require_equal([_header(headers, "x-slack-signature")], [f"v0={_hex(secret, signed)}" for secret in rules.secrets])
    return _text(_message(body).event_id) or _id_of_signed(signed)


def _standard(rules: Rules, headers: Headers, body: bytes) -> str | None:
    message_id = _header(headers, "webhook-id", "svix-id")
    timestamp = _header(headers, "webhook-timestamp", "svix-timestamp")
    _require_fresh(timestamp, rules.window)
    expected = [standard_webhooks.signature(secret, message_id, timestamp, body) for secret in rules.secrets]
    sent = [one.partition(",") for one in _header(headers, "webhook-signature", "svix-signature").split()]
    _require_equal([value for version, _, value in sent if version == "v1"], expected)
    return message_id


_PRESETS: dict[str, Callable[[Rules, Headers, bytes], str | None]] = {
    "none": _none,
    "shared_secret": _shared_secret,
    "hmac": _hmac,
    "github": _github,
    "shopify": _shopify,
    "stripe": _stripe,
    "slack": _slack,
    "standard": _standard,
}


def _own_id(headers: Headers) -> str | None:
    for name in ("x-message-id", "idempotency-key", "webhook-id"):
        if headers.get(name):
            return headers[name]
    event = headers.get("x-shopify-event-id") or headers.get("x-shopify-webhook-id")
    # One event is sent for each topic that is subscribed to, maybe to one address.
    return f"{headers.get('x-shopify-topic', '')} {event}" if event else None


def _id_of_telegram(headers: Headers, body: bytes) -> str | None:
    if "x-telegram-bot-api-secret-token" not in headers:
        return None
    update = bytes(_message(body).update_id)
    return f"update {update.decode()}" if update.isdigit() else None


def _id_of_signed(signed: bytes) -> str:
    """An id for a message without one: a repetition within the window has the same timestamp and body."""
    return "signed-" + hashlib.sha256(signed).hexdigest()


def _hex(secret: str, signed: bytes) -> str:
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def _header(headers: Headers, *names: str) -> str:
    for name in names:
        if headers.get(name):
            return headers[name]
    raise Problem(
        401,
        "invalid_signature",
        f"The header {' or '.join(names)} is missing.",
        "Check that the sender signs its messages, and that the webhook has the right preset.",
    )


def _require_equal(
    sent: Sequence[str], expected: Sequence[str], otherwise: str = "The signature does not match the body."
) -> None:
    # No short cut at the first match: the time must not tell which one was near.
    matches = [hmac.compare_digest(one.encode(), good.encode()) for one in sent for good in expected]
    if not any(matches):
        raise Problem(
            401,
            "invalid_signature",
            otherwise,
            "Check that the sender has this webhook's secret, and that no proxy changes the body.",
        )


def _require_fresh(timestamp: str, window: int) -> None:
    if not timestamp.isascii() or not timestamp.isdecimal() or len(timestamp) > 12:
        raise Problem(401, "invalid_signature", "The signature lacks a timestamp in seconds since 1970.")
    age = time.time() - int(timestamp)
    if abs(age) > window:
        raise Problem(
            401,
            "stale_signature",
            f"The message was signed {abs(age):.0f} seconds {'ago' if age > 0 else 'ahead'}; {window} are allowed.",
            "Sign each attempt again, and check both clocks.",
        )


class _Message(msgspec.Struct):
    """The members of a message that presets use."""

    id: msgspec.Raw = NULL
    event_id: msgspec.Raw = NULL
    type: msgspec.Raw = NULL
    challenge: msgspec.Raw = NULL
    update_id: msgspec.Raw = NULL


def _message(body: bytes) -> _Message:
    try:
        return msgspec.json.decode(body, type=_Message)
    except (ValueError, RecursionError):
        return _Message()


def _text(value: msgspec.Raw) -> str | None:
    """A member that is a text of some length."""
    try:
        text = msgspec.json.decode(value, type=str)
    except ValueError:
        return None
    return text if text and "\x00" not in text else None
