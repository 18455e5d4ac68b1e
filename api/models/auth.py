"""Logging in, as HTTP shows it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from api.models.base import Model, Text


class Credentials(Model):
    """Who logs in, and where to."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"email": "ada@example.org", "password": "correct horse battery staple"}]}
    )

    email: Annotated[Text, Field(min_length=3, max_length=254)]
    password: Annotated[Text, Field(min_length=1, max_length=1024)]
    project: Annotated[
        Text | None, Field(default=None, max_length=100, description="Id or slug; left out: the oldest project.")
    ]


class Session(BaseModel):
    """A token for the Authorization header."""

    token: str
    expires_at: datetime
    project_id: UUID
