"""Webhooks as HTTP shows them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api.models.base import LEFT_OUT, Change, Model, Name, Text
from api.models.schedules import FunctionReference
from sql.webhooks import Webhook

Preset = Annotated[
    Literal["none", "hmac", "github", "stripe", "slack", "standard"], Field(description="How the sender signs.")
]
Secret = Annotated[
    Text, Field(min_length=8, max_length=500, description="The sender's secret, where the sender chooses it.")
]


class WebhookToCreate(Model):
    """A new inbound URL."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"function_id": "on-push", "preset": "github"}]})

    function_id: FunctionReference
    preset: Preset = "none"
    name: Name | None = Field(default=None, description="Left out: the function's slug and a few random letters.")
    secret: Secret | None = Field(default=None, description="Left out: a fresh one is made and shown once.")


class WebhookChange(Change):
    """What to change of a webhook."""

    name: Name = LEFT_OUT
    enabled: bool = LEFT_OUT
    secret: Secret = LEFT_OUT


class WebhookDetails(BaseModel):
    """An inbound URL of a function."""

    id: UUID
    project_id: UUID
    function_id: UUID
    function: str = Field(description="Slug of the function.")
    name: str
    preset: Literal["none", "hmac", "github", "stripe", "slack", "standard"]
    path: str = Field(description="Where the sender posts to. Whoever knows it can try: keep it private.")
    enabled: bool
    created_at: datetime

    @classmethod
    def of(cls, webhook: Webhook) -> WebhookDetails:
        return cls(**_values(webhook))


class NewWebhookDetails(WebhookDetails):
    """A webhook at its creation."""

    secret: str | None = Field(description="Shown this once; null for the preset none.")

    @classmethod
    def with_secret(cls, webhook: Webhook, secret: str | None) -> NewWebhookDetails:
        return cls(**_values(webhook), secret=secret)


def _values(webhook: Webhook) -> dict[str, object]:
    names = ("id", "project_id", "function_id", "function", "name", "preset", "enabled", "created_at")
    return {**{name: getattr(webhook, name) for name in names}, "path": f"/hooks/{webhook.token}"}


class Accepted(BaseModel):
    """A message that is in the queue."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"invocation_id": "0198c6d1-7f3a-7cc4-9d2e-5b1f0a6e4c11", "duplicate": False}]}
    )

    invocation_id: UUID
    duplicate: bool = Field(description="Whether this message was accepted before, as this invocation.")
