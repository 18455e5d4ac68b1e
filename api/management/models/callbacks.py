"""The secret of a project's callbacks as HTTP shows it."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field

from api.http.models import Model


class SigningRotation(Model):
    """A new secret in place of the present one."""

    grace_seconds: int = Field(
        default=86400, ge=0, le=30 * 86400, description="How long the present secret signs beside the new one."
    )


class SigningSecretDetails(BaseModel):
    """What callbacks are signed with."""

    created_at: datetime | None = Field(description="Null where there is none yet.")
    previous_secret_valid_until: datetime | None = Field(description="Until when the secret before signs, too.")


class NewSigningSecret(SigningSecretDetails):
    """A secret that is new."""

    secret: str = Field(description="Shown this once; a secret of Standard Webhooks.")
