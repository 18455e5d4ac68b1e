"""Connections from the listener to registries: direct, or through the proxy that the operator has configured."""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Literal
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from listener.build_hosts import HTTP, HTTPS, Host
from listener.http_heads import HeadError, read_head

CONNECT_SECONDS = 30.0
CLOSE_SECONDS = 5.0
# A pool of its own: a project's owner chooses its registries, and a name server that does not answer holds a thread.
# The event loop has only four threads for all names, that of the database among them.
_LOOK_UPS = ThreadPoolExecutor(16, thread_name_prefix="registry look-ups")
OWN_HOST = ("localhost", "127.", "::1")  # an address of this host is not the proxy's


class Unreachable(Exception):
    """A registry cannot be connected to; the message says why. The name of its host may not exist."""

    def __init__(self, message: str, *, unknown_name: bool = False) -> None:
        super().__init__(message)
        self.unknown_name = unknown_name


@dataclass(frozen=True, slots=True)
class OperatorProxy:
    """The proxy that the listener's HTTPS_PROXY or HTTP_PROXY names."""

    host: str
    port: int
    tls: bool
    authorization: str  # a header field, or nothing


@dataclass(frozen=True, slots=True)
class Connection:
    """An open connection. For http through a proxy, requests carry whole URLs and the header field that it requires."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    proxy: OperatorProxy | None


def operator_proxy(scheme: Literal["http", "https"], host: str) -> OperatorProxy | None:
    """The proxy for a host, by the usual variables: HTTPS_PROXY, HTTP_PROXY and NO_PROXY. Raises Unreachable."""
    url = getproxies_environment().get(scheme)
    if not url or host.startswith(OWN_HOST) or proxy_bypass(host):
        return None
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Unreachable(f"the listener's {scheme.upper()}_PROXY is not an address such as http://proxy.example:3128")
    tls = parts.scheme == "https"
    pair = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    encoded = base64.b64encode(pair.encode()).decode()
    authorization = f"Proxy-Authorization: Basic {encoded}\r\n" if parts.username else ""
    return OperatorProxy(parts.hostname, parts.port or (HTTPS if tls else HTTP), tls, authorization)


def close(writer: asyncio.StreamWriter) -> None:
    """Close a connection, even if the other side does not read what is still to be sent."""
    writer.close()
    asyncio.get_running_loop().call_later(CLOSE_SECONDS, writer.transport.abort)


async def connect(scheme: Literal["http", "https"], host: str, port: int) -> Connection:
    """Connect to a host: for https to the server itself, for http perhaps to a proxy only. Raises Unreachable."""
    proxy = operator_proxy(scheme, host)
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            if proxy is None:
                return Connection(*await _open(host, port), None)
            tls = ssl.create_default_context() if proxy.tls else None
            reader, writer = await asyncio.open_connection(proxy.host, proxy.port, ssl=tls)
            if scheme == "https":
                await _tunnel(reader, writer, str(Host(host, port)), proxy)
            return Connection(reader, writer, proxy)
    except socket.gaierror as error:
        raise Unreachable(f"cannot resolve {host if proxy is None else 'its proxy'}", unknown_name=True) from error
    except TimeoutError as error:
        raise Unreachable("timed out") from error
    except (OSError, asyncio.IncompleteReadError, HeadError) as error:
        whom = "" if proxy is None else "the listener's proxy: "
        raise Unreachable(f"{whom}{getattr(error, 'strerror', None) or error}") from error


async def _open(host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Raises OSError."""
    look_up = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    found = await asyncio.get_running_loop().run_in_executor(_LOOK_UPS, look_up)
    addresses = [str(address[0]) for *_, address in found]
    for address in addresses[:-1]:
        with suppress(OSError):
            return await asyncio.open_connection(address, port)
    return await asyncio.open_connection(addresses[-1], port)


async def _tunnel(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: str, proxy: OperatorProxy
) -> None:
    """Have a proxy connect to the target. Raises Unreachable, OSError, IncompleteReadError, HeadError."""
    writer.write(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{proxy.authorization}\r\n".encode())
    try:
        await writer.drain()
        head = await read_head(reader)
        if head.status != 200:
            raise Unreachable(f"the listener's proxy answered {head.status or 'no HTTP'}")
    except BaseException:
        close(writer)
        raise
