"""The secret of a project's callbacks as HTTP shows it."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field

from api.http.models import Model


class SigningRotation(Model):
    """A new secret in place of the current one."""

    grace_seconds: int = Field(
        default=86400, ge=0, le=30 * 86400, description="How long the current secret keeps signing beside the new one."
    )


class SigningSecretDetails(BaseModel):
    """What callbacks are signed with."""

    created_at: datetime | None = Field(description="Null if there is none yet.")
    previous_secret_valid_until: datetime | None = Field(description="Until when the previous secret also signs.")


class NewSigningSecret(SigningSecretDetails):
    """A secret that is new."""

    secret: str = Field(description="Not shown again. In the format of Standard Webhooks.")
