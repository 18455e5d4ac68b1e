"""Host names that belong to one project: nothing but its functions and webhooks is served there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from litestar.connection import ASGIConnection

Hosts = Mapping[str, UUID]


def host_of(header: str) -> str:
    """The name in a Host header, without its port and the dot that may end a full name."""
    name = header.strip().lower()
    return name if name.endswith("]") else name.rsplit(":", 1)[0].removesuffix(".")


def is_origin_of(origin: str, host: str) -> bool:
    """Whether an Origin header is that of a Host header; a malformed one, such as `http://[`, is of no host."""
    try:
        return urlsplit(origin).netloc.lower() == host.lower() != ""
    except ValueError:
        return False


def project_of_host(connection: ASGIConnection[Any, Any, Any, Any]) -> UUID | None:
    """The project of the request's host name; None for a host that all projects share."""
    hosts: Hosts = connection.app.state.project_hosts
    return hosts.get(host_of(connection.headers.get("host", "")))
