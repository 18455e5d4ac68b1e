"""What one tenant or client sends holds neither the API nor the listener up for the others."""

from __future__ import annotations

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from urllib.parse import urlsplit
from uuid import UUID

import pytest

from tests.attacks.conftest import SLOTS, Arena
from tests.databases import TestProject
from tests.hostile_roles import demand_hashing
from tests.loops import nothing_holds_the_loops
from tests.platform import Platform

MIB = 1024 * 1024
LARGEST = 8 * MIB - 64
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
BODIES = {
    "lists": (b"[" + b"[]," * (LARGEST // 3 - 1) + b"1]", JSON),
    "objects": (b"[" + b'{"a":1},' * (LARGEST // 8 - 1) + b"1]", JSON),
    "members": (b"{" + b",".join(b'"%d":1' % n for n in range(700_000)) + b"}", JSON),
    "numbers": (b"[" + b"1e99," * (LARGEST // 5 - 1) + b"1e999]", JSON),
    "exponents in a string": (b'["' + b"1e9999," * (LARGEST // 7 - 1) + b'"]', JSON),
    "exponents in a row": (b'[" ' + b"e999" * (LARGEST // 4 - 2) + b' "]', JSON),
    "exponents in a small row": (b'[" ' + b"e999" * 16_000 + b' "]', JSON),
    "escapes": (b'["' + b"\\\\u0000" * (LARGEST // 7 - 1) + b'"]', JSON),
    "half a pair": (b"[" + b"[]," * (LARGEST // 3 - 4) + b'"\\ud800"]', JSON),
    "nested": (b"[" * LARGEST, JSON),
    "one string": (b'"' + b"a" * LARGEST + b'"', JSON),
    "punycode": (b"a" * 1_200_000, "text/plain; charset=punycode"),
    "controls": (b"\x01" * LARGEST, "text/plain"),
    "form of controls": (b"a=" + b"\x01" * LARGEST, FORM),
    "windows-1252": (b"\xe4" * (LARGEST // 2), "text/plain; charset=windows-1252"),
    "gb18030": (b"\x81\x30\x81\x30" * (LARGEST // 4), "text/plain; charset=gb18030"),
    "form of escapes": (b"a=" + b"%41" * (LARGEST // 3), FORM),
    "form of fields": (b"a&" * (LARGEST // 2), FORM),
    "bytes": (b"\x00\xff" * (LARGEST // 2), "application/octet-stream"),
}
RESULTS = {
    "lists": "return [[]] * 2_000_000",
    "members": "return {str(n): n for n in range(400_000)}",
    "text": "return 'x' * 8_000_000",
    "response": "return zmesh.response(b'x' * 6_000_000)",
    "error": "raise ValueError('x' * 5_000_000)",
    "lines": "for n in range(900):\n        print(str(n) * 300)",
    "long lines": "for n in range(15):\n        print('x' * 60_000)",
}


def watched(arena: Arena) -> AbstractContextManager[None]:
    return nothing_holds_the_loops(*(process.log for process in arena.parts.processes))


@pytest.fixture(scope="module")
def attacker(arena: Arena) -> Platform:
    arena.attacker.deploy("nothing", "def handler(payload, zmesh):\n    return 1\n", auth="none", memory_mb=512)
    return arena.attacker


@pytest.mark.parametrize("kind", BODIES)
def test_no_body_holds_a_loop(arena: Arena, attacker: Platform, kind: str) -> None:
    body, content_type = BODIES[kind]
    id = attacker.request("GET", "/functions/nothing").json()["id"]
    with watched(arena):
        answer = attacker.client.post(
            f"{attacker.url}/api/functions/{id}", content=body, headers={"content-type": content_type}
        )
    assert answer.status_code in (200, 400, 413, 415, 422), answer.text


@pytest.mark.parametrize("kind", ["lists", "objects", "members", "half a pair", "one string"])
@pytest.mark.parametrize("route", ["PATCH /functions/nothing", "POST /auth/login", "POST /deployments"])
def test_no_body_of_a_management_request_holds_a_loop(arena: Arena, attacker: Platform, kind: str, route: str) -> None:
    method, path = route.split()
    small = b"{" + b",".join(b'"%d":1' % n for n in range(7_000)) + b"}"
    with watched(arena):
        for body in (BODIES[kind][0], BODIES[kind][0][: MIB - 1], small):
            answer = attacker.request(method, path, content=body, headers={"content-type": JSON})
            assert answer.status_code in (400, 413, 422, 429), answer.text


@pytest.mark.parametrize("kind", ["lists", "objects", "members", "half a pair", "one string"])
def test_no_message_of_an_agent_holds_a_loop(arena: Arena, attacker: Platform, kind: str) -> None:
    head = b'{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "deploy_function", "arguments": '
    headers = {"content-type": JSON, "accept": "application/json, text/event-stream"}
    listed = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    assert attacker.request("POST", "/mcp", json=listed, headers=headers).status_code == 200  # has it loaded
    small = {"name": "x", "files": {str(n): 1 for n in range(1_900)}}
    with watched(arena):
        for arguments in (BODIES[kind][0][: MIB - 200], json.dumps(small).encode()):
            answer = attacker.request("POST", "/mcp", content=head + arguments + b"}}", headers=headers)
            assert answer.status_code in (200, 400, 422), answer.text


def test_a_comparison_of_the_most_lines_that_code_can_have_holds_no_loop(arena: Arena, attacker: Platform) -> None:
    """Both versions were split into lines before they were counted."""
    for line in ("a#", "b#"):
        attacker.deploy("lines", f"def handler(payload, zmesh):\n    return 1\n#{line}" + "\n##" * (MIB // 3 - 20))
    with watched(arena):
        answer = attacker.request("GET", "/functions/lines/versions/2/diff")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")
    assert "too many to compare" in answer.json()["detail"]


@pytest.mark.parametrize("kind", RESULTS)
def test_nothing_that_a_run_returns_or_prints_holds_a_loop(arena: Arena, attacker: Platform, kind: str) -> None:
    attacker.deploy("bomb", f"def handler(payload, zmesh):\n    {RESULTS[kind]}\n", memory_mb=1024, timeout_ms=60_000)
    with watched(arena):
        answer = attacker.invoke("bomb")
        assert answer.status_code in (200, 500), answer.text
        id = answer.headers["x-zmesh-invocation-id"]
        assert attacker.request("GET", f"/invocations/{id}").status_code == 200
        assert attacker.request("GET", f"/invocations/{id}/logs").status_code == 200


def test_many_large_calls_at_once_hold_no_loop(arena: Arena, attacker: Platform) -> None:
    body, content_type = BODIES["one string"]
    with watched(arena), ThreadPoolExecutor(6) as threads:
        calls = [
            threads.submit(attacker.invoke, "nothing", content=body, headers={"content-type": content_type})
            for _ in range(6)
        ]
        assert {call.result().status_code for call in calls} == {200}


def test_large_payloads_that_are_claimed_at_once_hold_no_loop(arena: Arena, attacker: Platform) -> None:
    """A claim has brought all of them in one answer: half a second for 32 slots."""
    attacker.deploy("size", "def handler(payload, zmesh):\n    return len(payload)\n", memory_mb=512)
    text = "\u4e2d" + "a" * (LARGEST - 8)
    with watched(arena):
        rows = attacker.sql(
            "insert into zmesh.invocations (function, payload)"
            f" select 'size', to_jsonb(%s::text) from generate_series(1, {2 * int(SLOTS)}) returning id",
            text,
        )
        assert {attacker.ended(str(row["id"]))["result"] for row in rows} == {len(text)}


def test_large_logs_and_errors_of_runs_that_end_at_once_hold_no_loop(arena: Arena, attacker: Platform) -> None:
    """They were written in one statement: 289 ms for 16 slots."""
    code = """
import time
def handler(payload, zmesh):
    time.sleep(max(0, payload - time.time()))
    for n in range(16):
        print("\\x01" * 60_000)
    raise ValueError("\u00e4\\x01" * 400_000)
"""
    attacker.deploy("loud", code)
    with watched(arena):
        together = time.time() + 1.5
        ids = [attacker.enqueue("loud", together, max_attempts=1) for _ in range(int(SLOTS))]
        assert {attacker.ended(id)["error"]["type"] for id in ids} == {"ValueError"}


def test_streams_that_open_and_close_at_once_hold_no_loop(arena: Arena, attacker: Platform) -> None:
    with watched(arena):
        opened = [begun_stream(attacker, "/live") for _ in range(150)]
        for stream in opened:
            assert stream.recv(12) == b"HTTP/1.1 200"
        for stream in opened:
            stream.close()
        assert attacker.request("GET", "/functions/nothing").status_code == 200


@pytest.mark.parametrize("path", ["/live", "/logs"])
def test_news_for_many_streams_hold_no_loop(arena: Arena, attacker: Platform, path: str) -> None:
    """Each of them was encoded for each client, and each line was sent by itself."""
    attacker.deploy("printer", "def handler(payload, zmesh):\n    for n in range(100):\n        print('x' * 4000)\n")
    attacker.deploy("later", "def handler(payload, zmesh):\n    return 1\n")
    streams = [begun_stream(attacker, path) for _ in range(100)]
    for stream in streams:
        assert stream.recv(12) == b"HTTP/1.1 200"
    with watched(arena):
        if path == "/logs":
            for id in [attacker.enqueue("printer") for _ in range(8)]:
                attacker.ended(id)
        else:
            attacker.sql(
                "insert into zmesh.invocations (function, payload, run_at)"
                " select 'later', '1', now() + interval '1 day' from generate_series(1, 450)"
            )
        for stream in streams:
            assert received(stream, 100_000)
    for stream in streams:
        stream.close()


BURSTS = [
    *(b"GET %s HTTP/1.1\r\nhost: h\r\n\r\n" % path for path in (b"/health", b"/schema")),
    b"GET / HTTP/1.1\r\n\r\n" * 5000,
]


@pytest.mark.parametrize("request_head", BURSTS, ids=["health", "schema", "pipelined"])
def test_requests_of_many_connections_at_once_hold_no_loop(arena: Arena, request_head: bytes) -> None:
    """Every connection was read at once, and garbage collections went through everything that was in progress."""
    address = urlsplit(arena.attacker.url)
    count = 2000 if len(request_head) < 100 else 20
    opened = [socket.create_connection((str(address.hostname), address.port or 0)) for _ in range(count)]
    with watched(arena):
        for connection in opened:
            connection.sendall(request_head[:60_000])
        for connection in opened:
            assert connection.recv(12) in (b"HTTP/1.1 200", b"HTTP/1.1 400", b"HTTP/1.1 429")
    for connection in opened:
        connection.close()


def begun_stream(attacker: Platform, path: str) -> socket.socket:
    """A connection that has asked for a stream of events."""
    address = urlsplit(attacker.url)
    stream = socket.create_connection((str(address.hostname), address.port or 0), timeout=60)
    head = f"GET {path} HTTP/1.1\r\nhost: {address.netloc}\r\nauthorization: Bearer {attacker.token}\r\n\r\n"
    stream.sendall(head.encode())
    return stream


def received(stream: socket.socket, least: int) -> bool:
    """Reads until so many bytes have come."""
    while least > 0 and (data := stream.recv(1 << 20)):
        least -= len(data)
    return least <= 0


def test_a_role_that_makes_signing_in_expensive_holds_no_loop(arena: Arena) -> None:
    """A verifier with a billion iterations stopped the listener, or the API, for a quarter of an hour."""
    mallory = arena.parts.project_of("mallory")
    mallory.deploy("query", "def handler(payload, zmesh):\n    return zmesh.db.query('select 1')\n", timeout_ms=2000)
    project = TestProject(UUID(mallory.project_id), mallory.database_url, "", "")
    demand_hashing(arena.database, project)
    with watched(arena):
        assert not mallory.invoke("query").is_success
        assert mallory.request("GET", "/changes").status_code == 503
    assert arena.victim.request("GET", "/changes").status_code == 200
