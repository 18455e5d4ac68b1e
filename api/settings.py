"""Settings of an API process."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, BeforeValidator, Field

from sql.connecting import checked_url
from support.settings import Required, ServiceSettings, Variable

Positive = Annotated[int, Field(ge=1)]
Megabytes = Annotated[int, Field(ge=8)]


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
            raise ValueError(f"{part!r} has no project id; give HOST=PROJECT_ID, separated by commas") from error
    return hosts


def _address(text: str) -> str:
    if not re.fullmatch(r"[^\s@/]+", text):
        raise ValueError(f"{text!r} is not host or host:port")
    return text


class Settings(ServiceSettings):
    """`port` 0 takes a free one. A client that is not in `trusted_proxies` has its own address, whatever it sends.

    `database_address` is the host, or host:port, that project owners are told to reach PostgreSQL at.
    """

    database_url: Annotated[Required, AfterValidator(checked_url), Variable("DATABASE_URL")]
    jwt_secret_key: Annotated[Required, Variable("JWT_SECRET_KEY")]
    secret_key: Annotated[Required, Variable("ZMESH_SECRET_KEY")]
    host: Annotated[str, Variable("ZMESH_HOST")] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535), Variable("ZMESH_PORT")] = 8700
    database_address: Annotated[Annotated[str, AfterValidator(_address)] | None, Variable("ZMESH_DATABASE_ADDRESS")] = (
        None
    )
    trusted_proxies: Annotated[list[str], BeforeValidator(_networks), Variable("ZMESH_TRUSTED_PROXIES")] = Field(
        default_factory=list
    )
    project_hosts: Annotated[dict[str, UUID], BeforeValidator(_hosts), Variable("ZMESH_PROJECT_HOSTS")] = Field(
        default_factory=dict
    )
    max_connections: Annotated[Positive | None, Variable("ZMESH_MAX_CONNECTIONS")] = None
    max_connections_per_address: Annotated[Positive | None, Variable("ZMESH_MAX_CONNECTIONS_PER_ADDRESS")] = None
    max_upload_mb: Annotated[Megabytes, Variable("ZMESH_MAX_UPLOAD_MB")] = 256
    max_upload_mb_per_address: Annotated[Megabytes, Variable("ZMESH_MAX_UPLOAD_MB_PER_ADDRESS")] = 64
