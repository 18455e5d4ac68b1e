"""Signs a message as the sender of a preset does, to try a webhook."""

from __future__ import annotations

import base64
import hmac
import time
from collections.abc import Callable
from uuid import uuid4

from support import standard_webhooks

Headers = dict[str, str]


def signed_headers(preset: str, secret: str, header: str | None, body: bytes) -> Headers:
    """The headers of a message from the preset's sender. `header` is the webhook's own name for the signature."""
    return _PRESETS[preset](secret, header, body)


def _none(secret: str, header: str | None, body: bytes) -> Headers:
    return {}


def _shared_secret(secret: str, header: str | None, body: bytes) -> Headers:
    return {header or "x-webhook-secret": secret}


def _hmac(secret: str, header: str | None, body: bytes) -> Headers:
    return {header or "x-signature-256": f"sha256={_hex(secret, body)}"}


def _github(secret: str, header: str | None, body: bytes) -> Headers:
    return {"x-hub-signature-256": f"sha256={_hex(secret, body)}", "x-github-delivery": str(uuid4())}


def _shopify(secret: str, header: str | None, body: bytes) -> Headers:
    return {"x-shopify-hmac-sha256": base64.b64encode(hmac.digest(secret.encode(), body, "sha256")).decode()}


def _stripe(secret: str, header: str | None, body: bytes) -> Headers:
    now = str(int(time.time()))
    return {"stripe-signature": f"t={now},v1={_hex(secret, now.encode() + b'.' + body)}"}


def _slack(secret: str, header: str | None, body: bytes) -> Headers:
    now = str(int(time.time()))
    signature = _hex(secret, b"v0:" + now.encode() + b":" + body)
    return {"x-slack-request-timestamp": now, "x-slack-signature": f"v0={signature}"}


def _standard(secret: str, header: str | None, body: bytes) -> Headers:
    id, now = f"msg_{uuid4().hex}", str(int(time.time()))
    signature = standard_webhooks.signature(secret, id, now, body)
    return {"webhook-id": id, "webhook-timestamp": now, "webhook-signature": f"v1,{signature}"}


def _hex(secret: str, signed: bytes) -> str:
    return hmac.digest(secret.encode(), signed, "sha256").hex()


_PRESETS: dict[str, Callable[[str, str | None, bytes], Headers]] = {
    "none": _none,
    "shared_secret": _shared_secret,
    "hmac": _hmac,
    "github": _github,
    "shopify": _shopify,
    "stripe": _stripe,
    "slack": _slack,
    "standard": _standard,
}
