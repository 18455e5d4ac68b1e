"""The hosts that builds may connect to: those of their registries, and others that the installation names."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

HTTP, HTTPS = 80, 443
LONGEST_NAME = 253  # in DNS; encoding a longer one holds the event loop
# Public registries whose pages name files on another host.
FILES_OF = {"pypi.org": "files.pythonhosted.org", "test.pypi.org": "test-files.pythonhosted.org"}
_NAME = re.compile(r"[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*")
_LISTED = re.compile(rf"((?:\*\.)?{_NAME.pattern}|\[[0-9a-f:.]+\])(?::([0-9]{{1,5}}))?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Host:
    """A host and its port. A name that begins with `*.` stands for all names below that domain."""

    name: str
    port: int

    def covers(self, name: str, port: int) -> bool:
        """Whether it is that one."""
        if port != self.port:
            return False
        return name.endswith(self.name[1:]) if self.name.startswith("*.") else name == self.name

    def __str__(self) -> str:
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"


def hosts_of(url: str) -> list[Host]:
    """The host of a registry, and the host on which it is known to keep its files; none if its name is a pattern."""
    parts = urlsplit(url)
    name = normal(parts.hostname or "")
    if not is_host(name):
        return []
    host = Host(name, parts.port or (HTTP if parts.scheme == "http" else HTTPS))
    return [host, Host(FILES_OF[name], HTTPS)] if name in FILES_OF else [host]


def listed_hosts(text: str) -> list[Host]:
    """Hosts separated by commas, each with a port unless it is that of HTTPS. Raises ValueError."""
    hosts = []
    for part in filter(None, map(str.strip, text.split(","))):
        found = _LISTED.fullmatch(part)
        port = int(found[2] or HTTPS) if found else 0
        if not found or not 0 < port < 65536:
            raise ValueError(f"{part!r} is not a host; list hosts such as files.example.com,*.example.net:8443")
        hosts.append(Host(normal(found[1].strip("[]")), port))
    return hosts


def normal(name: str) -> str:
    """A host name as it is compared: in lower case, without a trailing dot, and in ASCII if possible."""
    name = name.lower().removesuffix(".")
    try:
        return name if name.isascii() else name.encode("idna").decode()
    except UnicodeError:
        return name


def is_host(name: str) -> bool:
    """Whether this can be a host's name or address. Proxies interpret other characters differently."""
    return len(name) <= LONGEST_NAME and "%" not in name and (_NAME.fullmatch(name) is not None or is_address(name))


def is_address(name: str) -> bool:
    """Whether it is an IP address and not a name."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_among(hosts: Iterable[Host], name: str, port: int) -> bool:
    """Whether a build may connect there."""
    return any(host.covers(normal(name), port) for host in hosts)
