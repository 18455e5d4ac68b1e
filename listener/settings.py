"""What a listener reads from its environment."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field, ValidationError, field_validator

from sql.connecting import checked_url


class SettingsError(Exception):
    """A variable of the environment is missing or malformed; the message names it."""


class Settings(BaseModel):
    """`lease_seconds` must outlast a short outage of the database: runs survive it as long as the lease does."""

    database_url: Annotated[str, Field(min_length=1), AfterValidator(checked_url)]
    secret_key: str = Field(min_length=1)
    slots: int = Field(default=16, ge=1, le=1000)
    run_dir: Path | None = None
    drain_seconds: float = Field(default=25, ge=0, le=3600)
    lease_seconds: float = Field(default=20, ge=1, le=3600)
    sandbox_required: Literal["full"] | None = None
    callback_networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = Field(default_factory=list)
    name: str = Field(default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}")

    @field_validator("callback_networks", mode="before")
    @classmethod
    def _listed(cls, value: object) -> object:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


VARIABLES = {
    "DATABASE_URL": "database_url",
    "ZMESH_SECRET_KEY": "secret_key",
    "ZMESH_SLOTS": "slots",
    "ZMESH_RUN_DIR": "run_dir",
    "ZMESH_DRAIN_SECONDS": "drain_seconds",
    "ZMESH_LEASE_SECONDS": "lease_seconds",
    "ZMESH_SANDBOX_REQUIRED": "sandbox_required",
    "ZMESH_CALLBACK_NETWORKS": "callback_networks",
    "ZMESH_LISTENER_NAME": "name",
}


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Settings of the variables above. Raises SettingsError."""
    given = {field: environment[variable] for variable, field in VARIABLES.items() if environment.get(variable)}
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        names = {field: variable for variable, field in VARIABLES.items()}
        problems = [f"{names[str(e['loc'][0])]}: {e['msg']}" for e in error.errors()]
        raise SettingsError("The listener cannot start. " + "; ".join(problems)) from error
