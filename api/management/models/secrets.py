"""Secrets as HTTP shows them: everything but their values."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from api.http.models import Model, Text

LARGEST_VALUE = 64 * 1024


def _fits(value: str) -> str:
    if len(value.encode()) > LARGEST_VALUE:
        raise ValueError("is larger than 64 KiB")
    return value


class SecretToSet(Model):
    """A secret's value."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"value": "sk_live_abc123"}]}, hide_input_in_errors=True)

    value: Annotated[
        Text, AfterValidator(_fits), Field(min_length=1, description="At most 64 KiB of UTF-8. Never shown again.")
    ]


class SecretDetails(BaseModel):
    """A secret without its value."""

    model_config = ConfigDict(from_attributes=True)

    name: str = Field(description="How the code finds it in zmesh.env.")
    created_at: datetime
    updated_at: datetime = Field(description="Time at which its value was set.")
