"""What the API reads from its environment."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError

from sql.connecting import checked_url


class SettingsError(Exception):
    """A variable of the environment is missing or malformed; the message names it."""


def _networks(text: str) -> list[str]:
    try:
        return [str(ipaddress.ip_network(part.strip())) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise ValueError(f"{error}; give addresses or networks, such as 10.0.0.5,192.168.1.0/24") from error


def _hosts(text: str) -> dict[str, UUID]:
    hosts = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, project = part.partition("=")
        if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?", name.strip().lower()):
            raise ValueError(f"{name!r} is not a host name; give HOST=PROJECT_ID, separated by commas")
        try:
            hosts[name.strip().lower()] = UUID(project.strip())
        except ValueError as error:
            raise ValueError(f"{part!r} names no project id; give HOST=PROJECT_ID, separated by commas") from error
    return hosts


class Settings(BaseModel):
    """`port` 0 takes a free one. Whoever is not in `trusted_proxies` has its own address, whatever it sends.

    `database_address` is the host, or host:port, that project owners are told to reach PostgreSQL at.
    """

    database_url: Annotated[str, Field(min_length=1), AfterValidator(checked_url)]
    jwt_secret_key: str = Field(min_length=1)
    secret_key: str = Field(min_length=1)
    host: str = "127.0.0.1"
    port: int = Field(default=8700, ge=0, le=65535)
    database_address: str | None = Field(default=None, pattern=r"^[^\s@/]+$")
    trusted_proxies: Annotated[list[str], BeforeValidator(_networks)] = Field(default_factory=list)
    project_hosts: Annotated[dict[str, UUID], BeforeValidator(_hosts)] = Field(default_factory=dict)
    max_connections: int | None = Field(default=None, ge=1)
    max_connections_per_address: int | None = Field(default=None, ge=1)
    max_upload_mb: int = Field(default=256, ge=8)
    max_upload_mb_per_address: int = Field(default=64, ge=8)


VARIABLES = {
    "DATABASE_URL": "database_url",
    "JWT_SECRET_KEY": "jwt_secret_key",
    "ZMESH_SECRET_KEY": "secret_key",
    "ZMESH_HOST": "host",
    "ZMESH_PORT": "port",
    "ZMESH_DATABASE_ADDRESS": "database_address",
    "ZMESH_TRUSTED_PROXIES": "trusted_proxies",
    "ZMESH_PROJECT_HOSTS": "project_hosts",
    "ZMESH_MAX_CONNECTIONS": "max_connections",
    "ZMESH_MAX_CONNECTIONS_PER_ADDRESS": "max_connections_per_address",
    "ZMESH_MAX_UPLOAD_MB": "max_upload_mb",
    "ZMESH_MAX_UPLOAD_MB_PER_ADDRESS": "max_upload_mb_per_address",
}


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Settings of the variables above. Raises SettingsError."""
    given = {field: environment[variable] for variable, field in VARIABLES.items() if environment.get(variable)}
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        names = {field: variable for variable, field in VARIABLES.items()}
        problems = [f"{names[str(e['loc'][0])]}: {e['msg']}" for e in error.errors()]
        raise SettingsError("The API cannot start. " + "; ".join(problems)) from error
