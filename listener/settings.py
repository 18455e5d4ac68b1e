"""Settings of a listener process."""

from __future__ import annotations

import ipaddress
import os
import socket
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from listener.build_hosts import Host, listed_hosts
from listener.layers import default_folder
from sql.connecting import checked_url
from support.settings import Required, ServiceSettings, Variable

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _networks(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return [ipaddress.ip_network(part.strip()) for part in value.split(",") if part.strip()]
    except ValueError as error:
        raise ValueError(f"{error}; list networks such as 10.20.0.0/16,fd00::/8") from error


Networks = Annotated[list[Network], BeforeValidator(_networks)]


def _hosts(value: object) -> object:
    return listed_hosts(value) if isinstance(value, str) else value


Hosts = Annotated[list[Host], BeforeValidator(_hosts)]


def _registry(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("it is not an address such as https://packages.example.com/simple")
    return value


Registry = Annotated[str, AfterValidator(_registry)]


class Settings(ServiceSettings):
    """`lease_seconds` must outlast a short database outage: runs survive an outage for as long as the lease lasts."""

    database_url: Annotated[Required, AfterValidator(checked_url), Variable("DATABASE_URL")]
    secret_key: Annotated[Required, Variable("ZMESH_SECRET_KEY")]
    slots: Annotated[int, Field(ge=1, le=1000), Variable("ZMESH_SLOTS")] = 16
    run_dir: Annotated[Path | None, Variable("ZMESH_RUN_DIR")] = None
    drain_seconds: Annotated[float, Field(ge=0, le=3600), Variable("ZMESH_DRAIN_SECONDS")] = 25
    lease_seconds: Annotated[float, Field(ge=1, le=3600), Variable("ZMESH_LEASE_SECONDS")] = 20
    package_templates: Annotated[int, Field(ge=0, le=1000), Variable("ZMESH_PACKAGE_TEMPLATES")] = 16
    package_templates_mb: Annotated[int, Field(ge=0, le=1_000_000), Variable("ZMESH_PACKAGE_TEMPLATES_MB")] = 1024
    sandbox_required: Annotated[Literal["full"] | None, Variable("ZMESH_SANDBOX_REQUIRED")] = None
    callback_networks: Annotated[Networks, Variable("ZMESH_CALLBACK_NETWORKS")] = Field(default_factory=list)
    builds: Annotated[int, Field(ge=0, le=100), Variable("ZMESH_BUILDS")] = 1
    layers_dir: Annotated[Path, Variable("ZMESH_LAYERS_DIR")] = Field(default_factory=default_folder)
    layers_mb: Annotated[int, Field(ge=1), Variable("ZMESH_LAYERS_MB")] = 4096
    python_index_url: Annotated[Registry, Variable("ZMESH_PYTHON_INDEX_URL")] = "https://pypi.org/simple"
    npm_registry: Annotated[Registry, Variable("ZMESH_NPM_REGISTRY")] = "https://registry.npmjs.org/"
    npm_token: Annotated[str | None, Variable("ZMESH_NPM_TOKEN")] = None
    build_hosts: Annotated[Hosts, Variable("ZMESH_BUILD_HOSTS")] = Field(default_factory=list)
    name: Annotated[str, Variable("ZMESH_LISTENER_NAME")] = Field(
        default_factory=lambda: f"{socket.gethostname()}:{os.getpid()}"
    )

    def registry_secrets(self) -> list[str]:
        """What must be in no log: the token and passwords of the registries, and their addresses."""
        found = [self.npm_token or ""]
        for address in (self.python_index_url, self.npm_registry):
            parts = urlsplit(address)
            found += [address, parts.netloc, parts.password or "", unquote(parts.password or "")]
        return [secret for secret in found if secret]
