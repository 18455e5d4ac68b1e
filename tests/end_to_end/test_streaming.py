"""Responses that reach the caller while the function still makes them."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import httpx
import pytest

from tests.platform import Platform

# Each waits, between its pieces, for a row that the test inserts: so a piece that is not sent on at once is noticed.
PYTHON = """
import time
def handler(payload, zmesh):
    yield "first\\n"
    while not zmesh.db.query_one("select 1 from stream_signals where name = %s", [payload["wait_for"]]):
        time.sleep(0.05)
    yield "second\\n"
"""
JAVASCRIPT = """
exports.handler = async function* (payload, zmesh) {
  yield 'first\\n';
  while (!(await zmesh.db.queryOne('select 1 from stream_signals where name = $1', [payload.wait_for]))) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  yield 'second\\n';
};
"""
ENDLESS = """
def handler(payload, zmesh):
    for n in range(1, 2000):
        yield b"x" * 65536
        if n % 16 == 0:
            zmesh.db.query("insert into stream_signals (name) values (%s)", [payload["name"]])
"""
BREAKS = "def handler(payload, zmesh):\n    yield 'a'\n    raise ValueError('in the middle')\n"
WHOLE = "def handler(payload, zmesh):\n    yield 'a'\n    yield 'b'\n"
FUNCTIONS = {"stream-python": PYTHON, "stream-endless": ENDLESS, "stream-breaks": BREAKS, "stream-whole": WHOLE}
MIB = 1024 * 1024


@pytest.fixture(scope="module")
def platform(running_platform: Platform) -> Iterator[Platform]:
    running_platform.sql("create table stream_signals (name text not null)")
    for name, code in FUNCTIONS.items():
        running_platform.deploy(name, code, timeout_ms=60_000)
    running_platform.deploy("stream-javascript", JAVASCRIPT, "javascript", timeout_ms=60_000)
    yield running_platform
    for name in (*FUNCTIONS, "stream-javascript"):
        running_platform.request("DELETE", f"/functions/{name}")
    running_platform.sql("drop table stream_signals")


@pytest.fixture
def signal(platform: Platform) -> tuple[str, Callable[[], None]]:
    """A name, and what makes functions that wait for it go on."""
    name = secrets.token_hex(8)

    def give() -> None:
        platform.sql("insert into stream_signals (name) values (%s)", name)

    return name, give


def stream(platform: Platform, slug: str, payload: dict[str, str]) -> AbstractContextManager[httpx.Response]:
    headers = {"x-api-key": platform.api_key}
    return platform.client.stream("POST", f"{platform.url}/api/functions/{slug}", headers=headers, json=payload)


def kept(invocation: dict[str, Any]) -> bytes:
    """The body that the invocation's record has."""
    return base64.b64decode(invocation["response"]["body_base64"])


@pytest.mark.parametrize("language", ["python", "javascript"])
def test_a_piece_arrives_before_the_next_one_is_made(
    platform: Platform, signal: tuple[str, Callable[[], None]], language: str
) -> None:
    name, give = signal
    with stream(platform, f"stream-{language}", {"wait_for": name}) as answer:
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/plain; charset=utf-8")
        lines = answer.iter_lines()
        assert next(lines) == "first"
        give()
        assert list(lines) == ["second"]
    ended = platform.ended(answer.headers["x-zmesh-invocation-id"])
    assert (ended["status"], ended["response"]["streamed_bytes"]) == ("success", 13)


@pytest.mark.parametrize("language", ["python", "javascript"])
def test_a_run_goes_on_when_the_client_of_its_stream_is_gone(
    platform: Platform, signal: tuple[str, Callable[[], None]], language: str
) -> None:
    name, give = signal
    with stream(platform, f"stream-{language}", {"wait_for": name}) as answer:
        assert next(answer.iter_lines()) == "first"
    give()
    ended = platform.ended(answer.headers["x-zmesh-invocation-id"])
    assert (ended["status"], kept(ended)) == ("success", b"first\nsecond\n")


def test_a_run_is_no_further_ahead_of_its_client_than_buffers_allow(platform: Platform) -> None:
    name = secrets.token_hex(8)
    received = 0
    with stream(platform, "stream-endless", {"name": name}) as answer:
        for piece in answer.iter_bytes(MIB):
            received += len(piece)
            [made] = platform.sql("select count(*) from stream_signals where name = %s", name)
            assert made["count"] * MIB < received + 16 * MIB
            if received > 24 * MIB:
                break


def test_a_response_that_is_cut_off_is_not_taken_for_a_complete_one(platform: Platform) -> None:
    with stream(platform, "stream-breaks", {}) as answer, pytest.raises(httpx.RemoteProtocolError):
        answer.read()
    assert answer.status_code == 200
    ended = platform.ended(answer.headers["x-zmesh-invocation-id"])
    assert (ended["status"], ended["error"]["message"]) == ("error", "in the middle")


def test_a_client_that_takes_no_chunks_gets_the_complete_response(platform: Platform) -> None:
    accepted = platform.invoke("stream-whole", headers={"prefer": "respond-async"})
    assert kept(platform.ended(accepted.json()["invocation_id"])) == b"ab"
    envelope = platform.request("POST", "/functions/stream-whole/invoke", json={})
    assert (envelope.status_code, envelope.json()["result"]) == (200, "ab")
    key = {"idempotency-key": secrets.token_hex(8)}
    assert [platform.invoke("stream-whole", headers=key).text for _ in range(2)] == ["ab", "ab"]


def test_a_head_request_gets_the_head_only(platform: Platform) -> None:
    address = f"{platform.url}/api/functions/stream-whole"
    answer = platform.client.head(address, headers={"x-api-key": platform.api_key})
    assert (answer.status_code, answer.headers["content-type"], answer.content) == (
        200,
        "text/plain; charset=utf-8",
        b"",
    )


def test_events_arrive_as_events(platform: Platform) -> None:
    code = """
def handler(payload, zmesh):
    return zmesh.response(({"n": n} for n in range(3)), headers={"content-type": "text/event-stream"})
"""
    platform.deploy("stream-whole", code)
    with stream(platform, "stream-whole", {}) as answer:
        events = [json.loads(line.removeprefix("data: ")) for line in answer.iter_lines() if line]
    assert events == [{"n": 0}, {"n": 1}, {"n": 2}]
    platform.deploy("stream-whole", WHOLE)
