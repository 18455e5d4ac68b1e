"""Webhooks as HTTP shows them."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from api.http.models import UNSET, Change, FunctionReference, JsonValue, Model, Name, Text
from api.invoking.models import Status
from api.webhooks.recording import LARGEST_BODY_KEPT
from sql.webhooks import ReceivedRequest, Webhook

Preset = Annotated[
    Literal["none", "hmac", "shared_secret", "github", "shopify", "stripe", "slack", "standard"],
    Field(description="Signature scheme of the sender."),
]
Answer = Annotated[
    Literal["accepted", "result"],
    Field(description="Response to the sender: accepted (202) at once, or the result once the function has ended."),
]
Window = Annotated[
    int, Field(ge=10, le=86400, description="Largest difference between a signed timestamp and the server's clock.")
]
Header = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$",
        description="Presets hmac and shared_secret: the header in which signature or secret comes.",
    ),
]
Secret = Annotated[Text, Field(min_length=8, max_length=500, description="Secret, if the sender chooses it.")]


class WebhookToCreate(Model):
    """A new inbound URL."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"function_id": "on-push", "preset": "github"}]})

    function_id: FunctionReference
    preset: Preset = "none"
    name: Name | None = Field(default=None, description="Default: the function's slug and a random suffix.")
    secret: Secret | None = Field(default=None, description="Default: a new one, which is shown once.")
    replay_window_seconds: Window = 300
    signature_header: Header | None = None
    answer: Answer = "accepted"


class WebhookChange(Change):
    """What to change of a webhook."""

    name: Name = UNSET
    enabled: bool = UNSET
    secret: Secret = UNSET
    replay_window_seconds: Window = UNSET
    signature_header: Header | None = UNSET
    answer: Answer = UNSET


class Rotation(Model):
    """A new secret in place of the current one."""

    secret: Secret | None = Field(default=None, description="Default: a new one, which is shown once.")
    grace_seconds: int = Field(
        default=86400, ge=0, le=30 * 86400, description="How long the current secret stays valid; 0: not at all."
    )


class WebhookDetails(BaseModel):
    """An inbound URL of a function."""

    id: UUID
    project_id: UUID
    function_id: UUID
    function: str = Field(description="Slug of the function.")
    name: str
    preset: Literal["none", "hmac", "shared_secret", "github", "shopify", "stripe", "slack", "standard"]
    path: str = Field(description="Path that the sender posts to. Keep it private.")
    enabled: bool
    replay_window_seconds: int
    signature_header: str | None
    answer: Literal["accepted", "result"]
    previous_secret_valid_until: datetime | None = Field(description="Until when the previous secret is also valid.")
    created_at: datetime

    @classmethod
    def of(cls, webhook: Webhook) -> WebhookDetails:
        return cls(**_values(webhook))


class NewWebhookDetails(WebhookDetails):
    """A webhook whose secret is new."""

    secret: str | None = Field(description="Not shown again; null for the preset none.")

    @classmethod
    def with_secret(cls, webhook: Webhook, secret: str | None) -> NewWebhookDetails:
        return cls(**_values(webhook), secret=secret)


def _values(webhook: Webhook) -> dict[str, object]:
    names = WebhookDetails.model_fields.keys() - {"path"}
    return {**{name: getattr(webhook, name) for name in names}, "path": f"/hooks/{webhook.token}"}


class Accepted(BaseModel):
    """An accepted message."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"invocation_id": "0198c6d1-7f3a-7cc4-9d2e-5b1f0a6e4c11", "duplicate": False}]}
    )

    invocation_id: UUID
    duplicate: bool = Field(description="Whether this message was accepted before, as this invocation.")


Verdict = Literal["accepted", "duplicate", "refused"]


class TestMessage(Model):
    """A message to try a webhook with."""

    __test__ = False  # no class of tests

    payload: JsonValue = Field(default_factory=dict, description="Body of the message, as JSON.")


class DeliverySummary(BaseModel):
    """A request to a webhook."""

    id: UUID
    received_at: datetime
    verdict: Verdict = Field(description="duplicate: its message id was accepted before, as invocation_id.")
    test: bool = Field(description="Whether a member of the project sent it, as a test or once more.")
    status_code: int = Field(description="HTTP status of the response.")
    code: str | None = Field(description="Why it was refused: the code of the problem.")
    detail: str | None
    message_id: str | None = Field(description="The sender's own id of the message, where the preset has one.")
    invocation_id: UUID | None
    invocation_status: Status | None
    client: str = Field(description="Address of the sender.")
    body_size: int
    event: str | None = Field(
        description="The event that the JSON body names in `type`, `event`, `event_type` or `topic`."
    )
    beginning: str | None = Field(
        description="The first characters of the payload; null if it is large or was refused."
    )
    headers: dict[str, str] | None = Field(
        description="By lower-case name, without a secret; null where they are older than their retention."
    )

    @classmethod
    def of(cls, received: ReceivedRequest) -> DeliverySummary:
        return cls(**_summary_of(received))


class DeliveryDetails(DeliverySummary):
    """A request to a webhook with its body."""

    body: str | None = Field(description="Null if it is larger than 64 KiB or was not kept; see also body_base64.")
    body_base64: str | None = Field(description="In place of body, where that is not UTF-8.")

    @classmethod
    def of(cls, received: ReceivedRequest) -> DeliveryDetails:
        text, encoded = _body_of(received)
        return cls(**_summary_of(received), body=text, body_base64=encoded)


def _summary_of(received: ReceivedRequest) -> dict[str, Any]:
    names = DeliverySummary.model_fields.keys() - {"headers"}
    headers = None if received.headers is None else msgspec.json.decode(received.headers)
    return {**{name: getattr(received, name) for name in names}, "headers": headers}


def _body_of(received: ReceivedRequest) -> tuple[str | None, str | None]:
    if received.request is None or received.body_size > LARGEST_BODY_KEPT:
        return None, None
    encoded: str = msgspec.json.decode(received.request)["body_base64"]
    try:
        return base64.b64decode(encoded).decode(), None
    except UnicodeDecodeError:
        return None, encoded
