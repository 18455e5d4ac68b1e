"""One POST to an address that a tenant chose: limited in time and size, and never into the platform's networks."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache, partial
from urllib.parse import SplitResult, quote, urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
LARGEST_HEAD = 65536
LONGEST_HOST = 253  # in DNS; encoding a longer one holds the event loop
INTERIM = range(100, 200)
AS_THEY_ARE = "%:/?#[]@!$&'()*+,;="
# Global according to the registry or the library, yet detours: translation to IPv4, tunnels into it, site-local.
TUNNEL_NETWORKS = [
    ipaddress.ip_network(text)
    for text in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "192.88.99.0/24", "fec0::/10", "3fff::/20")
]


# A pool of its own, with many threads: a name whose server does not answer holds a thread for longer than the timeout.
_LOOK_UPS = ThreadPoolExecutor(64, thread_name_prefix="callback look-ups")


class NotSent(Exception):
    """No receiver accepted the message; `for_good` if trying again is pointless."""

    def __init__(self, message: str, *, for_good: bool = False) -> None:
        super().__init__(message)
        self.for_good = for_good


def is_allowed(address: Address, networks: Sequence[Network]) -> bool:
    """Whether a tenant may make the platform connect there: the public internet, and networks the operator named."""
    mapped = getattr(address, "ipv4_mapped", None)
    if mapped is not None:
        return is_allowed(mapped, networks)
    if any(address in network for network in networks):
        return True
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_reserved
        and not any(address in network for network in TUNNEL_NETWORKS)
    )


async def post(
    url: str, headers: Mapping[str, str], body: bytes, *, networks: Sequence[Network], seconds: float
) -> int:
    """The status code of the answer. Raises NotSent if there is none within so many seconds.

    Redirects are not followed: somebody else chose where they lead.
    """
    try:
        async with asyncio.timeout(seconds):
            return await _post(url, headers, body, networks)
    except TimeoutError as error:
        raise NotSent(f"no answer within {seconds:g} seconds") from error


async def _post(url: str, headers: Mapping[str, str], body: bytes, networks: Sequence[Network]) -> int:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        if len(host) > LONGEST_HOST:
            raise ValueError("the host's name is too long")
        name = host.encode("idna").decode() if not host.isascii() else host
    except (ValueError, UnicodeError) as error:
        raise NotSent(f"invalid URL: {error}", for_good=True) from error
    # The connection is to the very address that was checked: a second look-up might return a different one.
    address = await _address(name, port, networks)
    try:
        if parts.scheme == "https":
            reader, writer = await _connected_by_tls(str(address), port, name)
        else:
            reader, writer = await asyncio.open_connection(str(address), port, limit=LARGEST_HEAD)
    except (OSError, ssl.SSLError) as error:
        raise NotSent(f"{name} cannot be reached: {error.strerror or error}") from error
    try:
        writer.write(_head(parts, name, headers, len(body)) + body)
        await writer.drain()
        return await _status(reader)
    except (OSError, ssl.SSLError) as error:
        raise NotSent(f"{name} closed the connection: {error.strerror or error}") from error
    finally:
        writer.transport.abort()


async def _connected_by_tls(address: str, port: int, name: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Raises OSError, of which ssl.SSLError is one."""
    usual, older = _contexts()
    try:
        return await asyncio.open_connection(address, port, ssl=usual, server_hostname=name, limit=LARGEST_HEAD)
    except ssl.SSLCertVerificationError:
        raise
    except (ssl.SSLError, ConnectionResetError):  # the latter if an alert and the end of the connection come together
        return await asyncio.open_connection(address, port, ssl=older, server_hostname=name, limit=LARGEST_HEAD)


@cache
def _contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """One for most servers, and one for those with TLS 1.2 whose certificate is on another curve. Created once, since
    that reads every certificate of the system's store.

    The receiver chooses how keys are exchanged. A finite field can take 0.6 s of the event loop, so only elliptic
    curves are offered. TLS 1.3 treats fields as curves, so it is offered only the curve that every server must have.
    """
    usual, older = ssl.create_default_context(), ssl.create_default_context()
    for context in (usual, older):
        context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES:!aNULL:!SHA1:!AESCCM")
    usual.set_ecdh_curve("prime256v1")
    older.maximum_version = ssl.TLSVersion.TLSv1_2
    return usual, older


async def _address(host: str, port: int, networks: Sequence[Network]) -> Address:
    look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    try:
        found = await asyncio.get_running_loop().run_in_executor(_LOOK_UPS, look_up)
    except OSError as error:
        raise NotSent(f"{host} is not known: {error.strerror or error}") from error
    addresses = [ipaddress.ip_address(str(one[4][0]).partition("%")[0]) for one in found]
    for address in addresses:
        if is_allowed(address, networks):
            return address
    raise NotSent(
        f"{host} is not on the public internet, and callbacks go nowhere else"
        " (an operator can allow networks with ZMESH_CALLBACK_NETWORKS)",
        for_good=True,
    )


def _head(parts: SplitResult, host: str, headers: Mapping[str, str], length: int) -> bytes:
    authority = f"[{host}]" if ":" in host else host
    if parts.port is not None:
        authority += f":{parts.port}"
    target = quote((parts.path or "/") + (f"?{parts.query}" if parts.query else ""), safe=AS_THEY_ARE)
    lines = [f"POST {target} HTTP/1.1", f"Host: {authority}", f"Content-Length: {length}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("utf-8")


async def _status(reader: asyncio.StreamReader) -> int:
    while True:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            raise NotSent("the answer is not HTTP, or its headers are too long") from error
        version, _, rest = head.partition(b" ")
        with suppress(ValueError):
            status = int(rest[:3])
            if version.startswith(b"HTTP/1.") and status not in INTERIM:
                return status
            if status in INTERIM:
                continue
        raise NotSent("the answer is not HTTP")
