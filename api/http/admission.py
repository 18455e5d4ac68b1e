"""Limits on connections and on request bytes in progress, per address and in total."""

from __future__ import annotations

import ipaddress
import resource
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from api.http.problems import Problem

RETRY_SECONDS = 5
RESERVED_FILES = 128  # for the database, files and everything else that the process opens
MOST_CONNECTIONS = 10_000
SHARE = 4  # one address may use a quarter
IPV6_NETWORK = 64  # bits assigned to a customer, who chooses the rest
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bytes are those received of request bodies whose responses are not complete."""

    connections: int = MOST_CONNECTIONS
    connections_of_address: int = MOST_CONNECTIONS
    upload_bytes: int = 256 * MIB
    upload_bytes_of_address: int = 64 * MIB


class Admission:
    """Counts connections and bytes. Trusted proxies act for many clients, so their addresses have no limit."""

    def __init__(self, bounds: Bounds, trusted_proxies: Sequence[str] = ()) -> None:
        self.bounds = bounds
        self._trusted = [ipaddress.ip_network(network) for network in trusted_proxies]
        self._connections: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()
        self._all_connections = 0
        self._all_bytes = 0

    def client_of(self, address: str) -> str:
        """The key under which an address is counted; empty for a trusted proxy and if there is no address."""
        try:
            found = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return ""
        found = getattr(found, "ipv4_mapped", None) or found
        if any(found in network for network in self._trusted):
            return ""
        if found.version == 4:
            return str(found)
        return str(ipaddress.ip_network((found, IPV6_NETWORK), strict=False))

    @property
    def connections(self) -> int:
        """How many are open."""
        return self._all_connections

    @property
    def upload_bytes(self) -> int:
        """Bytes received of bodies whose responses are not complete."""
        return self._all_bytes

    @property
    def full(self) -> bool:
        """Whether the connection limit is reached."""
        return self._all_connections >= self.bounds.connections

    def connect(self, client: str) -> Problem | None:
        """Count a connection; return the Problem if it is refused."""
        if self.full:
            return _refusal(503, "busy", "The server has reached its connection limit.")
        if client and self._connections[client] >= self.bounds.connections_of_address:
            most = self.bounds.connections_of_address
            return _refusal(429, "too_many_connections", f"Your address already has {most} open connections.")
        self._all_connections += 1
        self._connections[client] += 1
        return None

    def disconnect(self, client: str) -> None:
        self._all_connections -= 1
        subtract(self._connections, client, 1)

    def receive(self, client: str, size: int) -> Problem | None:
        """Count bytes of a body; return the Problem if they are refused."""
        if self._all_bytes + size > self.bounds.upload_bytes:
            return _refusal(503, "busy", "The server has reached its limit of request bytes in progress.")
        if client and self._bytes[client] + size > self.bounds.upload_bytes_of_address:
            most = self.bounds.upload_bytes_of_address // MIB
            return _refusal(
                429, "too_many_uploads", f"Request bodies in progress from your address already total {most} MiB."
            )
        self._all_bytes += size
        self._bytes[client] += size
        return None

    def release(self, client: str, size: int) -> None:
        """Stop counting these bytes."""
        self._all_bytes -= size
        subtract(self._bytes, client, size)


def subtract(counts: Counter[str], name: str, count: int) -> None:
    """Count less under this name; one without a count is forgotten, since there may be very many."""
    counts[name] -= count
    if not counts[name]:
        del counts[name]


def _refusal(status: int, code: str, detail: str) -> Problem:
    hint = f"Try again in {RETRY_SECONDS} s."
    return Problem(status, code, detail, hint, headers={"Retry-After": str(RETRY_SECONDS)})


def connections_possible() -> int:
    """How many the limit on open files leaves room for, once it is raised as far as this process may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_CONNECTIONS + RESERVED_FILES
    raised = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < raised:
        resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
        soft = raised
    return MOST_CONNECTIONS if soft == resource.RLIM_INFINITY else max(1, min(MOST_CONNECTIONS, soft - RESERVED_FILES))
