"""The admin port: what it reveals to whom, whoever connects."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import cast

import pytest

from observing.admin import LARGEST_HEAD, MOST_CONNECTIONS, AdminPortError, AdminServer, Readiness, _origin
from observing.events import CheckFailed, Event
from observing.metrics import Metrics
from observing.stream import subscribed

TOKEN = "a-token-of-sixteen-or-more"


@dataclass(frozen=True)
class Settings:
    admin_host: str = "127.0.0.1"
    admin_port: int | None = 0
    metrics_token: str | None = TOKEN


class Examined:
    """Checks whose outcome a test sets."""

    def __init__(self) -> None:
        self.failures: dict[str, str | None] = {"database": None, "clock": None}
        self.times = 0

    async def __call__(self) -> Mapping[str, str | None]:
        self.times += 1
        return dict(self.failures)


@dataclass
class Port:
    """An admin port that listens."""

    number: int
    server: AdminServer
    readiness: Readiness
    examined: Examined

    async def send(self, data: bytes) -> bytes:
        """Everything that is answered to these bytes, until the end."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.number)
        try:
            writer.write(data)
            return await asyncio.wait_for(reader.read(), 10)
        finally:
            writer.close()

    async def get(self, path: str, authorization: str = "", method: str = "GET") -> tuple[int, bytes]:
        header = f"authorization: {authorization}\r\n" if authorization else ""
        answer = await self.send(f"{method} {path} HTTP/1.1\r\nhost: x\r\n{header}\r\n".encode())
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), body


async def opened(settings: Settings, capsys: pytest.CaptureFixture[str], metrics: Metrics | None = None) -> Port:
    examined = Examined()
    readiness = Readiness(examined, advisory=frozenset({"clock"}))
    server = AdminServer(settings, metrics or Metrics("test", "1"), readiness)
    await server.start()
    return Port(int(capsys.readouterr().out.rpartition(":")[2]), server, readiness, examined)


@pytest.fixture
async def port(capsys: pytest.CaptureFixture[str]) -> AsyncIterator[Port]:
    found = await opened(Settings(), capsys)
    yield found
    found.server.close()


async def test_metrics_need_the_token(port: Port) -> None:
    for wrong in ("", TOKEN, "Basic " + TOKEN, "Bearer ", "Bearer x" + TOKEN, "Bearer \xff"):
        status, body = await port.get("/metrics", wrong)
        assert (status, b"zmesh_" in body) == (401, False), wrong
    for query in ("?token=", f"?tokens={TOKEN}", f"?token=x&token={TOKEN}", "?" + "&".join("a" * 50)):
        assert (await port.get("/metrics" + query, ""))[0] == 401, query
    assert (await port.get(f"/metrics?token={TOKEN}", ""))[0] == 200  # for what takes nothing but a URL
    assert (await port.get(f"/metrics?token={TOKEN}", "Bearer x"))[0] == 401
    for right in ("Bearer " + TOKEN, "bearer  " + TOKEN):
        status, body = await port.get("/metrics", right)
        assert (status, b'zmesh_info{process="test",version="1"} 1.0' in body) == (200, True)


async def test_metrics_are_read_beside_the_event_loop(capsys: pytest.CaptureFixture[str]) -> None:
    """Requests of clients make them longer, by their routes, methods and statuses."""
    readers: list[threading.Thread] = []

    def blocked_ms() -> float:
        readers.append(threading.current_thread())
        return 5

    metrics = Metrics("test", "1")
    metrics.watch_loop(blocked_ms)
    port = await opened(Settings(), capsys, metrics)

    status, body = await port.get("/metrics", f"Bearer {TOKEN}")
    port.server.close()

    assert (status, b"zmesh_event_loop_blocked_seconds 0.005" in body) == (200, True)
    assert readers
    assert threading.current_thread() not in readers


async def test_without_a_token_there_are_no_metrics(capsys: pytest.CaptureFixture[str]) -> None:
    port = await opened(Settings(metrics_token=None), capsys)
    for given in ("", "Bearer ", "Bearer None"):
        status, body = await port.get("/metrics", given)
        assert (status, b"ZMESH_METRICS_TOKEN" in body, b"zmesh_" in body) == (403, True, False)
    port.server.close()


async def test_a_failing_check_makes_it_unready_and_an_advisory_one_does_not(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("observing.admin.FRESH_SECONDS", -1.0)
    told: list[Event] = []
    with subscribed(told.append):
        port.examined.failures["clock"] = "silent"
        status, body = await port.get("/ready")
        assert (status, b'"clock": {"status": "failed", "reason": "silent"}' in body) == (200, True)
        port.examined.failures["database"] = "not reachable"
        for _ in range(3):
            assert (await port.get("/ready"))[0] == 503
        assert told == [CheckFailed("clock", "silent"), CheckFailed("database", "not reachable")]  # once each
        port.examined.failures["database"] = None
        assert (await port.get("/ready"))[0] == 200
        port.readiness.stop()
        status, body = await port.get("/ready")
        assert (status, b'"status": "stopping"' in body) == (503, True)
    assert (await port.get("/health"))[0] == 200


async def test_checks_are_made_once_however_many_ask(port: Port) -> None:
    answers = await asyncio.gather(*(port.get("/ready") for _ in range(MOST_CONNECTIONS // 2)))
    assert {status for status, _ in answers} == {200}
    assert port.examined.times == 1


async def test_malformed_requests_are_refused(port: Port) -> None:
    assert (await port.get("/other"))[0] == 404
    assert (await port.get("/health", method="POST"))[0] == 405
    assert await port.get("/health", method="HEAD") == (200, b"")
    assert (await port.get("/health?x=1"))[0] == 200
    assert await port.send(b"\x16\x03\x01\x00\xff nonsense\r\n\r\n") == b""
    assert await port.send(b"GET /health HTTP/1.1\r\nhost: x\r\n" + b"a: b\r\n" * LARGEST_HEAD) == b""


@pytest.mark.parametrize("version", ["abc", "1..0", "", "1.0.0"])
async def test_metrics_are_sent_whatever_version_of_the_format_is_asked_for(port: Port, version: str) -> None:
    accept = f"accept: application/openmetrics-text; version={version}\r\n"
    request = f"GET /metrics HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n{accept}\r\n"
    answer = await port.send(request.encode())
    assert (answer.split()[1], b"zmesh_info" in answer) == (b"200", True)


async def test_connections_that_are_held_open_keep_nobody_out_and_are_not_logged_as_errors(port: Port) -> None:
    logged: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: logged.append(context))
    held = [await asyncio.open_connection("127.0.0.1", port.number) for _ in range(3 * MOST_CONNECTIONS)]
    for _, writer in held:
        writer.write(b"GET /metrics HTTP/1.1\r\n")
    assert (await port.get("/health"))[0] == 200
    first, _ = held[0]
    assert await asyncio.wait_for(first.read(), 10) == b""  # given up for a newer one
    for _, writer in held:
        writer.close()
    assert logged == []


async def test_a_flood_from_this_host_displaces_no_probe_from_another(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = "127.0.0.2"  # stands for another host
    monkeypatch.setattr(
        "observing.admin._origin",
        lambda writer: elsewhere if writer.get_extra_info("peername")[0] == elsewhere else _origin(writer),
    )
    probe, asking = await asyncio.open_connection("127.0.0.1", port.number, local_addr=(elsewhere, 0))
    flood = [await asyncio.open_connection("127.0.0.1", port.number) for _ in range(3 * MOST_CONNECTIONS)]
    assert (await port.get("/health"))[0] == 200  # all of them were accepted

    asking.write(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")

    assert (await asyncio.wait_for(probe.read(), 10)).startswith(b"HTTP/1.1 200")
    for writer in (asking, *(writer for _, writer in flood)):
        writer.close()


@pytest.mark.parametrize(
    ("client", "own", "origin"),
    [
        ("127.0.0.1", "127.0.0.1", "this host"),
        ("127.0.5.9", "127.0.0.1", "this host"),
        ("::1", "::1", "this host"),
        ("172.18.0.4", "172.18.0.4", "this host"),
        ("172.18.0.1", "172.18.0.4", "172.18.0.1"),
        ("fe80::1%eth0", "fe80::2%eth0", "fe80::1%eth0"),
    ],
)
def test_all_addresses_that_a_run_can_connect_from_count_as_one(client: str, own: str, origin: str) -> None:
    class Writer:
        def get_extra_info(self, name: str) -> tuple[str, int]:
            return (client if name == "peername" else own, 1)

    assert _origin(cast(asyncio.StreamWriter, Writer())) == origin


async def test_a_port_that_is_taken_is_named(port: Port) -> None:
    second = AdminServer(Settings(admin_port=port.number), Metrics("test", "1"), port.readiness)
    with pytest.raises(AdminPortError, match=f"ZMESH_ADMIN_PORT {port.number}: .* a port of its own"):
        await second.start()
