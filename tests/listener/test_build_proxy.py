"""The proxy of a build: whom it serves, where it leads, and through which proxy of the operator."""

from __future__ import annotations

import asyncio
import base64
import gc
import os
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from listener import build_proxy, build_upstream
from listener.build_hosts import Host, hosts_of, is_among, listed_hosts
from listener.build_proxy import MOST_CONNECTIONS, MOST_UNPROVEN, BuildProxy
from listener.build_upstream import Unreachable, connect


@dataclass
class Server:
    """A server of HTTP that answers each request with what it received, or as the proxy that it plays."""

    port: int = 0
    heads: list[str] = field(default_factory=list)

    def host(self) -> Host:
        return Host("127.0.0.1", self.port)


@asynccontextmanager
async def serving() -> AsyncIterator[Server]:
    found = Server()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        found.heads.append(head)
        if head.startswith("CONNECT"):
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            found.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        elif "Content-Length: 4" in head:
            found.heads.append((await reader.readexactly(4)).decode())
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    found.port = server.sockets[0].getsockname()[1]
    async with server:
        yield found


def credentials(proxy: BuildProxy) -> str:
    return base64.b64encode(f"build:{proxy.token}".encode()).decode()


async def ask(proxy: BuildProxy, line: str, *more: str, token: str | None = None) -> str:
    """What the proxy answers to a request until it closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    fields = f"Host: anything\r\nProxy-Authorization: Basic {token or credentials(proxy)}\r\n"
    writer.write(f"{line} HTTP/1.1\r\n{fields}\r\n{''.join(more)}".encode())
    text = (await reader.read()).decode()
    writer.close()
    return text


def run(test: Callable[[BuildProxy, Server], Awaitable[None]], *hosts: Host) -> list[str]:
    """Run a test with a proxy that leads to a server and these hosts; what the build was told."""
    told: list[str] = []

    async def main() -> None:
        async with serving() as server:
            proxy = BuildProxy([server.host(), *hosts], told.append)
            async with proxy.serving():
                await test(proxy, server)

    asyncio.run(asyncio.wait_for(main(), 30))
    return told


def test_requests_go_to_allowed_hosts_without_what_was_for_the_proxy() -> None:
    async def test(proxy: BuildProxy, server: Server) -> None:
        answer = await ask(proxy, f"GET http://127.0.0.1:{server.port}/a//b?c=d")
        assert (answer[:15], answer[-5:]) == ("HTTP/1.1 200 OK", "hello")
        assert "Connection: close" in answer
        assert "keep-alive" not in answer
        [head] = server.heads
        assert head.startswith(f"GET /a//b?c=d HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n")
        assert "Proxy-" not in head
        assert "anything" not in head
        body = f"POST http://127.0.0.1:{server.port} HTTP/1.1\r\nContent-Length: 4\r\n"
        line, field = body.split(" HTTP/1.1\r\n")
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        own = f"Proxy-Authorization: Basic {credentials(proxy)}\r\n"
        writer.write(f"{line} HTTP/1.1\r\n{own}{field}\r\nbody".encode())
        assert (await reader.read()).endswith(b"hello")
        writer.close()
        assert server.heads[1].startswith("POST / HTTP/1.1\r\n")
        assert server.heads[2] == "body"

    assert run(test) == []


def test_tunnels_lead_to_allowed_hosts_only_and_each_refusal_is_told_once() -> None:
    async def test(proxy: BuildProxy, server: Server) -> None:
        request = "GET / HTTP/1.1\r\n\r\n"
        answer = await ask(proxy, f"CONNECT 127.0.0.1:{server.port}", request)
        assert answer.startswith("HTTP/1.1 200 Connected\r\n\r\nHTTP/1.1 200 OK")
        assert server.heads == [request]
        for target in ("127.0.0.1:1", "127.0.0.1:1", "localhost:443", "[::1]:5432"):
            assert (await ask(proxy, f"CONNECT {target}")).startswith("HTTP/1.1 421 not a host that builds")
        assert (await ask(proxy, f"GET http://localhost:{server.port}/")).startswith("HTTP/1.1 421")
        assert (await ask(proxy, "CONNECT missing.invalid:443")).startswith(
            "HTTP/1.1 424 cannot connect to missing.invalid:443: cannot resolve"
        )
        assert (await ask(proxy, "CONNECT 127.0.0.1:2")).startswith("HTTP/1.1 502 cannot connect to 127.0.0.1:2: ")
        malformed = (
            "GET /",
            "CONNECT x",
            "GET https://localhost/",
            "CONNECT a b:1",
            "GET http://[x/",
            "GET http://a/\t",
            f"GET\thttp://evil/ http://127.0.0.1:{server.port}/",
        )
        for line in (*malformed, "CONNECT a\\b:1", "CONNECT a%b:1", "CONNECT [fe80::1%a]:1", f"CONNECT {'a' * 64}:1"):
            assert await ask(proxy, line) == ""

    told = run(test, Host("missing.invalid", 443), Host("127.0.0.1", 2))
    assert [sentence.split()[3] for sentence in told[:3]] == [
        "127.0.0.1:1",
        "localhost:443",
        "[::1]:5432",
    ]
    assert [sentence.rpartition(": ")[0] for sentence in told[4:]] == [
        "cannot connect to missing.invalid:443",
        "cannot connect to 127.0.0.1:2",
    ]


def hello(name: str | None) -> bytes:
    """What a client of TLS sends first."""
    outgoing = ssl.MemoryBIO()
    context = ssl.create_default_context()
    context.check_hostname = False
    tls = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def with_extension(hello: bytes, kind: int) -> bytes:
    """The same hello with one more extension, in front of all others."""
    added = kind.to_bytes(2) + b"\0\x01x"
    at = 9 + 34  # of what has a length of its own
    for size in (1, 2, 1):
        at += size + int.from_bytes(hello[at : at + size])
    longer = hello[: at + 2] + added + hello[at + 2 :]
    for place, size in ((3, 2), (6, 3), (at, 2)):
        length = int.from_bytes(longer[place : place + size]) + len(added)
        longer = longer[:place] + length.to_bytes(size) + longer[place + size :]
    return longer


@pytest.mark.parametrize(
    ("host", "sent", "passed"),
    [
        ("files.example", hello("files.example"), True),
        ("FILES.example", hello("files.example"), True),
        ("files.example", hello("evil.example"), False),
        ("files.example", hello(None), False),
        ("files.example", with_extension(hello("files.example"), 0xFF01), True),
        ("files.example", with_extension(hello("files.example"), 0xFE0D), False),  # which hides another name
        ("files.example", hello("files.example").replace(b"files.example", b"files.exampl\xff"), False),
        ("files.example", b"GET / HTTP/1.1\r\n\r\n", False),
        ("files.example", b"\x16\x03\x01\xff\xff" + bytes(100), False),
        ("files.example", b"\x16\x03\x01\0\x05\x01\0\0\x63x", False),
        ("10.0.0.1", hello(None), True),
        ("10.0.0.1", hello("evil.example"), False),
    ],
)
def test_a_tunnel_to_the_port_of_https_is_for_the_server_that_it_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, host: str, sent: bytes, passed: bool
) -> None:
    """The operator's proxy is played by a server that keeps what it gets."""
    got: list[bytes] = []

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        got.append(await reader.read())
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(keep, "127.0.0.1", 0)
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        monkeypatch.setenv("no_proxy", "")
        proxy = BuildProxy([Host(host.lower(), 443)], lambda _: None)
        async with server, proxy.serving():
            reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
            own = f"Proxy-Authorization: Basic {credentials(proxy)}"
            writer.write(f"CONNECT {host}:443 HTTP/1.1\r\n{own}\r\n\r\n".encode() + sent)
            writer.write_eof()
            assert (await reader.read()).startswith(b"HTTP/1.1 200 Connected")
            writer.close()

    asyncio.run(asyncio.wait_for(main(), 30))
    assert got == [sent if passed else b""]


def test_who_does_not_know_the_token_is_refused_and_holds_up_nobody() -> None:
    async def test(proxy: BuildProxy, server: Server) -> None:
        target = f"GET http://127.0.0.1:{server.port}/"
        other = BuildProxy([server.host()], lambda _: None)
        for token in ("eDp5", "\xff", credentials(other)):
            assert (await ask(proxy, target, token=token)).startswith("HTTP/1.1 407")
        idle = [await asyncio.open_connection("127.0.0.1", proxy.port) for _ in range(MOST_UNPROVEN + 1)]
        assert (await ask(proxy, target)).startswith("HTTP/1.1 200")
        assert await idle[0][0].read() == b""
        for _, writer in idle:
            writer.close()

    assert run(test) == []


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[tuple[Host, list[bytes]]]:
    """A server that answers, and keeps all that it gets until the connection ends."""
    got: list[bytes] = []

    async def keep(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        writer.write_eof()
        got.append(await reader.read())
        writer.close()

    server = await asyncio.start_server(keep, "127.0.0.1", 0)
    async with server:
        yield Host("127.0.0.1", server.sockets[0].getsockname()[1]), got


def test_one_request_is_passed_on_and_nothing_behind_it() -> None:
    async def main() -> None:
        async with answering(b"HTTP/1.1 200 OK\r\n\r\nhello") as (host, got):
            proxy = BuildProxy([host], lambda _: None)
            async with proxy.serving():
                target = f"http://ada@127.0.0.1:{host.port}/a"
                own = f"Host: x\r\nProxy-Authorization: Basic {credentials(proxy)}\r\n"
                behind = f"GET {target} HTTP/1.1\r\n{own}\r\n"
                for fields, answer in (
                    ("Content-Length: 4\r\n", "HTTP/1.1 200"),
                    ("Content-Length: 4\r\ncontent-length: 40\r\n", ""),
                    ("Content-Length: +4\r\n", ""),
                    ("Transfer-Encoding: chunked\r\n", "HTTP/1.1 411"),
                ):
                    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
                    writer.write(f"POST {target} HTTP/1.1\r\n{own}{fields}\r\nbody{behind}".encode())
                    assert (await reader.readline()).decode().startswith(answer)
                    writer.close()
            assert got[0].endswith(b"\r\n\r\nbody")
            assert not any(got[1:])

    asyncio.run(asyncio.wait_for(main(), 30))


def test_a_server_that_never_sends_its_final_response_is_given_up() -> None:
    async def main() -> None:
        async with answering(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000) as (host, _):
            proxy = BuildProxy([host], lambda _: None)
            async with proxy.serving():
                answer = await ask(proxy, f"GET http://127.0.0.1:{host.port}/")
                assert 1 < answer.count("100 Continue") < 1000

    asyncio.run(asyncio.wait_for(main(), 30))


@pytest.mark.parametrize("field", ["a: " + " " * 30_000 + "\0", "a: x" + " \t" * 15_000 + "y", "a" * 30_000])
def test_heads_are_read_at_once_whatever_they_hold(field: str) -> None:
    async def test(proxy: BuildProxy, server: Server) -> None:
        answer = await ask(proxy, f"GET http://127.0.0.1:{server.port}/ HTTP/1.1\r\n{field}\r\nb: c", token="x")
        assert answer.startswith("HTTP/1.1 407") or answer == ""

    assert run(test) == []


def test_the_listener_keeps_few_of_the_connections_that_are_opened_at_once() -> None:
    async def main() -> None:
        proxy = BuildProxy([], lambda _: None)
        async with proxy.serving():
            opened = [socket.create_connection(("127.0.0.1", proxy.port)) for _ in range(100)]  # none is accepted yet
            for one in opened:
                one.setblocking(False)
            loop = asyncio.get_running_loop()
            ends = [asyncio.create_task(loop.sock_recv(one, 1)) for one in opened]
            ended = 0
            for end in asyncio.as_completed(ends):
                with suppress(ConnectionError):
                    assert await end == b""
                if (ended := ended + 1) == len(opened) - MOST_UNPROVEN:
                    break
            assert sum(not end.done() for end in ends) == MOST_UNPROVEN
            for end in ends:
                end.cancel()
            await asyncio.gather(*ends, return_exceptions=True)
        for one in opened:
            one.close()

    asyncio.run(asyncio.wait_for(main(), 30))


def sockets() -> int:
    """How many this process has open."""
    return sum(
        os.path.realpath(place).rpartition("/")[2].startswith("socket:") for place in Path("/proc/self/fd").iterdir()
    )


def test_a_registry_that_reads_nothing_does_not_keep_its_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_upstream, "CLOSE_SECONDS", 0.01)

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            host = Host("127.0.0.1", silent.getsockname()[1])
            proxy = BuildProxy([host], lambda _: None)
            async with proxy.serving():
                before = sockets() + 1  # that of the registry
                reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
                own = f"Proxy-Authorization: Basic {credentials(proxy)}"
                writer.write(f"CONNECT {host} HTTP/1.1\r\n{own}\r\n\r\n".encode() + bytes(8 * 1024 * 1024))
                await reader.readuntil(b"\r\n\r\n")
                accepted, _ = silent.accept()
                while writer.transport.get_write_buffer_size() == 0:
                    await asyncio.sleep(0.01)
            writer.transport.abort()
            while sockets() > before:
                await asyncio.sleep(0.01)
            accepted.close()

    asyncio.run(asyncio.wait_for(main(), 30))


def test_host_names_that_nobody_resolves_hold_up_no_other_build(monkeypatch: pytest.MonkeyPatch) -> None:
    answered, look_up = threading.Event(), socket.getaddrinfo

    def slow(host: str, *arguments: Any, **options: Any) -> Any:
        if host == "slow.example":
            answered.wait(30)
            raise socket.gaierror
        return look_up(host, *arguments, **options)

    async def test(proxy: BuildProxy, server: Server) -> None:
        waiting = [asyncio.create_task(ask(proxy, "CONNECT slow.example:443")) for _ in range(MOST_CONNECTIONS)]
        other = BuildProxy([server.host()], lambda _: None)
        async with other.serving():
            assert (await ask(other, f"GET http://127.0.0.1:{server.port}/")).startswith("HTTP/1.1 200")
        answered.set()
        assert {answer[:12] for answer in await asyncio.gather(*waiting)} == {"HTTP/1.1 424"}

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    run(test, Host("slow.example", 443))


def test_the_operators_proxy_is_used_unless_it_is_not_for_that_host(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "no_proxy", "HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"):
        monkeypatch.delenv(name, raising=False)

    async def test(proxy: BuildProxy, server: Server) -> None:
        for name in ("https_proxy", "http_proxy"):
            monkeypatch.setenv(name, f"http://ada:pass%40word@127.0.0.1:{server.port}")
        own = "Proxy-Authorization: Basic " + base64.b64encode(b"ada:pass@word").decode()
        await ask(proxy, "CONNECT packages.example:8443", "GET / HTTP/1.1\r\n\r\n")
        assert server.heads[0].startswith("CONNECT packages.example:8443 HTTP/1.1\r\n")
        assert own in server.heads[0]
        assert server.heads[1] == "GET / HTTP/1.1\r\n\r\n"
        await ask(proxy, "GET http://packages.example/simple/")
        assert server.heads[2].startswith("GET http://packages.example/simple/ HTTP/1.1\r\n")
        assert own in server.heads[2]
        assert credentials(proxy) not in server.heads[2]
        await ask(proxy, "GET http://evil.example\\@packages.example:80?a")  # read as another host by some
        assert server.heads.pop().startswith("GET http://packages.example/?a HTTP/1.1\r\nHost: packages.example\r\n")
        monkeypatch.setenv("no_proxy", ".example")
        assert "cannot resolve packages.example" in await ask(proxy, "CONNECT packages.example:443")
        await ask(proxy, f"GET http://127.0.0.1:{server.port}/own")
        assert server.heads[3].startswith("GET /own HTTP/1.1\r\n")
        monkeypatch.setenv("no_proxy", "")
        monkeypatch.setenv("https_proxy", "socks5://127.0.0.1:1")
        assert "HTTPS_PROXY is not an address" in await ask(proxy, "CONNECT packages.example:443")

    told = run(test, *(Host("packages.example", port) for port in (443, 8443, 80)))
    assert all(sentence.startswith("cannot connect to packages.example:443: ") for sentence in told)


def test_no_connection_outlives_the_build() -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            proxy = BuildProxy([Host("127.0.0.1", silent.getsockname()[1])], lambda _: None)
            async with proxy.serving():
                reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
                target = f"127.0.0.1:{silent.getsockname()[1]}"
                own = f"Proxy-Authorization: Basic {credentials(proxy)}"
                writer.write(f"CONNECT {target} HTTP/1.1\r\n{own}\r\n\r\n".encode())
                assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
                accepted, _ = silent.accept()
            with accepted:
                assert accepted.recv(1) == b""
            assert await reader.read() == b""
            writer.close()

    asyncio.run(asyncio.wait_for(main(), 30))


def test_hosts_are_those_of_registries_and_those_that_are_listed() -> None:
    assert hosts_of("https://PyPI.org/simple") == [Host("pypi.org", 443), Host("files.pythonhosted.org", 443)]
    assert hosts_of("http://ada:x@mirror.example:8081/") == [Host("mirror.example", 8081)]
    assert hosts_of("https://*.com/simple") == []  # the owner of a project chose it, not the operator
    assert hosts_of("http://mirror.example/") == [Host("mirror.example", 80)]
    listed = listed_hosts("files.example, *.cdn.example:8443,,[fd00::1]:80,10.0.0.1")
    assert [str(host) for host in listed] == ["files.example:443", "*.cdn.example:8443", "[fd00::1]:80", "10.0.0.1:443"]
    for name, port, allowed in (
        ("FILES.example.", 443, True),
        ("files.example", 80, False),
        ("a.b.cdn.example", 8443, True),
        ("cdn.example", 8443, False),
        ("evilcdn.example", 8443, False),
        ("fd00::1", 80, True),
    ):
        assert is_among(listed, name, port) is allowed
    for wrong in ("https://files.example", "*", "a.*.example", "files.example:0", "a b"):
        with pytest.raises(ValueError, match="is not a host"):
            listed_hosts(wrong)


async def test_names_of_registries_are_looked_up_by_threads_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The event loop's threads, which all names share, would wait for a name server that does not answer."""

    async def refuse(*_: object, **__: object) -> None:
        raise AssertionError

    async with serving() as server:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", refuse)
        connection = await connect("https", "localhost", server.port)
        connection.writer.close()
        with pytest.raises(Unreachable, match="cannot resolve"):
            await connect("https", "name.invalid", server.port)


def test_a_connection_that_breaks_off_leaves_nothing_in_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    failures: list[dict[str, Any]] = []

    async def closed(*_: Any) -> None:
        raise RuntimeError("unable to perform operation on a transport that is closed")  # as uvloop says it

    async def test(proxy: BuildProxy, server: Server) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, failure: failures.append(failure))
        for line in ("CONNECT 127.0.0.1", "GET http://127.0.0.1"):
            await ask(proxy, f"{line}:{server.port}", "GET / HTTP/1.1\r\n\r\n")
        gc.collect()

    monkeypatch.setattr(build_proxy, "_pass_on", closed)
    assert run(test) == []
    assert [failure["message"] for failure in failures if "never retrieved" in failure["message"]] == []
