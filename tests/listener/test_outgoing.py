"""Where callbacks may go, and what an answer may be."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from listener import outgoing
from listener.outgoing import Network, NotSent, is_allowed, post
from listener.settings import Settings
from support.settings import SettingsError, read_settings

LOOPBACK: list[Network] = [ipaddress.ip_network("127.0.0.0/8")]
INSIDE = [
    *("127.0.0.1", "127.8.9.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1"),
    *("169.254.169.254", "192.0.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "239.1.1.1", "240.0.0.1"),
    *("255.255.255.255", "::", "::1", "fe80::1", "fc00::1", "fd12::1", "ff02::1", "2001:db8::1"),
    *("fec0::1", "192.88.99.1", "3fff::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b:1::a00:1"),
    *("2002:7f00:1::", "2001:0:0:0::1", "::127.0.0.1"),
]


@pytest.mark.parametrize("address", INSIDE)
def test_nothing_is_sent_to_addresses_outside_the_public_internet(address: str) -> None:
    assert not is_allowed(ipaddress.ip_address(address), [])


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1"])
def test_public_addresses_are_allowed(address: str) -> None:
    assert is_allowed(ipaddress.ip_address(address), [])


def test_an_operator_may_allow_networks() -> None:
    networks = [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8")]
    for allowed in ("10.1.2.3", "::ffff:10.1.2.3", "fd12::1"):
        assert is_allowed(ipaddress.ip_address(allowed), networks)
    assert not is_allowed(ipaddress.ip_address("127.0.0.1"), networks)


def test_the_setting_is_a_list_of_networks() -> None:
    variables = {"DATABASE_URL": "postgresql://x", "ZMESH_SECRET_KEY": "k"}
    read = read_settings(Settings, {**variables, "ZMESH_CALLBACK_NETWORKS": "10.0.0.0/8, fd00::/8"})
    assert [str(network) for network in read.callback_networks] == ["10.0.0.0/8", "fd00::/8"]
    with pytest.raises(SettingsError, match="ZMESH_CALLBACK_NETWORKS"):
        read_settings(Settings, {**variables, "ZMESH_CALLBACK_NETWORKS": "everywhere"})


Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(talk: Talk, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """The port of a server that answers every client this way."""
    listening = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=tls)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()


def answering(*lines: str, seen: list[bytes] | None = None) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, OSError):
            return
        if seen is not None:
            seen.append(head)
        if lines:
            writer.write("\r\n".join([*lines, "", ""]).encode())
        writer.close()

    return talk


async def send(url: str, networks: list[Network] = LOOPBACK, seconds: float = 20) -> int:
    return await post(url, {"X-A": "b"}, b"{}", networks=networks, seconds=seconds)


async def test_the_request_is_plain_http_to_the_address_of_the_host() -> None:
    seen: list[bytes] = []
    async with server(answering("HTTP/1.1 103 Hints", "", "HTTP/1.1 204 None", seen=seen)) as port:
        assert await send(f"http://localhost:{port}/é/a%20b?c=d&e=[1]#f") == 204
    [head] = seen
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /%C3%A9/a%20b?c=d&e=[1] HTTP/1.1"
    assert {f"Host: localhost:{port}", "X-A: b", "Content-Length: 2"} <= set(lines)


async def test_a_redirect_is_not_followed() -> None:
    hit: list[bytes] = []
    async with server(answering("HTTP/1.1 200 OK", seen=hit)) as inside:
        where = f"Location: http://127.0.0.1:{inside}/"
        async with server(answering("HTTP/1.1 307 Temporary Redirect", where)) as port:
            assert await send(f"http://127.0.0.1:{port}/") == 307
    assert hit == []


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1:{}/", "http://localhost:{}/", "http://[::1]:{}/", "http://[::ffff:127.0.0.1]:{}/"),
        *("http://2130706433:{}/", "http://0x7f.1:{}/", "http://0:{}/", "http://127.1:{}/", "http://127.0.0.1.:{}/"),
    ],
)
async def test_nothing_is_sent_to_internal_addresses_however_they_are_written(url: str) -> None:
    hit: list[bytes] = []
    async with server(answering("HTTP/1.1 200 OK", seen=hit)) as port:
        with pytest.raises(NotSent):
            await send(url.format(port), networks=[])
    assert hit == []


async def test_a_name_that_changes_its_address_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """First it is public, then it is ours: what was checked is what is connected to."""
    answers, connected = ["203.0.114.1", "127.0.0.1"], []

    def getaddrinfo(host: Any, port: Any, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answers.pop(0), port))]

    async def open_connection(host: str, *_: Any, **__: Any) -> Any:
        connected.append(host)
        raise ConnectionRefusedError("refused by the test")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(asyncio, "open_connection", open_connection)
    with pytest.raises(NotSent, match="cannot be reached"):
        await send("http://rebinding.example/", networks=[])
    assert connected == ["203.0.114.1"]
    with pytest.raises(NotSent, match="not on the public internet") as refusal:
        await send("http://rebinding.example/", networks=[])
    assert refusal.value.for_good


@pytest.mark.parametrize("answer", [["SSH-2.0-x"], ["HTTP/1.1 abc"], ["HTTP/1.1 200 OK", "X: " + "a" * 70000], []])
async def test_an_answer_that_is_not_http_or_too_long_is_refused(answer: list[str]) -> None:
    async with server(answering(*answer)) as port:
        with pytest.raises(NotSent, match="not HTTP"):
            await send(f"http://127.0.0.1:{port}/")


async def test_an_answer_that_does_not_come_is_waited_for_only_so_long() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with server(silent) as port:
        with pytest.raises(NotSent, match=r"no answer within 0\.1 seconds"):
            await send(f"http://127.0.0.1:{port}/", seconds=0.1)


async def test_a_host_name_longer_than_dns_allows_is_refused_for_good() -> None:
    with pytest.raises(NotSent, match="too long") as refused:
        await send(f"https://{'é.' * 900}example/")
    assert refused.value.for_good


async def test_a_server_without_tls_gets_nothing() -> None:
    seen: list[bytes] = []
    async with server(answering("HTTP/1.1 200 OK", seen=seen)) as port:
        with pytest.raises(NotSent):
            await send(f"https://127.0.0.1:{port}/", seconds=2)
    assert not any(b"POST" in head for head in seen)


@pytest.fixture
def key_and_certificate(tmp_path: Path, request: pytest.FixtureRequest) -> tuple[Path, Path]:
    """For localhost, of the kind that the test names; the listener trusts it."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    kind = ["rsa:2048"] if request.param == "rsa" else ["ec", "-pkeyopt", f"ec_paramgen_curve:{request.param}"]
    command = ["openssl", "req", "-x509", "-newkey", *kind, "-nodes", "-keyout", key, "-out", certificate]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command, *names], check=True, capture_output=True)
    for context in outgoing._contexts():
        context.load_verify_locations(certificate)
    return key, certificate


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
@pytest.mark.parametrize("key_and_certificate", ["rsa", "prime256v1", "secp384r1"], indirect=True)
async def test_receivers_have_usual_certificates(key_and_certificate: tuple[Path, Path], version: str) -> None:
    key, certificate = key_and_certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.maximum_version = ssl.TLSVersion[version]
    async with server(answering("HTTP/1.1 204 No Content"), context) as port:
        assert await send(f"https://localhost:{port}/") == 204


@pytest.mark.parametrize("options", ["-tls1_3 -groups ffdhe8192", "-tls1_2 -cipher DHE"])
@pytest.mark.parametrize("key_and_certificate", ["rsa"], indirect=True)
async def test_no_keys_are_exchanged_over_large_fields(key_and_certificate: tuple[Path, Path], options: str) -> None:
    """0.1 and 0.6 s of the event loop, for each callback that a project sends to its own server."""
    key, certificate = key_and_certificate
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = ["-accept", f"127.0.0.1:{port}", "-key", key, "-cert", certificate, *options.split()]
    receiver = await asyncio.create_subprocess_exec(
        "openssl", "s_server", *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert receiver.stdout is not None
        while b"ACCEPT" not in await receiver.stdout.readline():
            pass
        with pytest.raises(NotSent, match="cannot be reached"):
            await send(f"https://localhost:{port}/")
    finally:
        receiver.kill()
        await receiver.communicate()
