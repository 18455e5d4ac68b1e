"""Responses that a handler makes piece by piece."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.sdk.runtimes import Ending, run

WEB_STREAM = """
exports.handler = () => new Response(new ReadableStream({
  async start(controller) {
    for (const text of ['a', 'b']) {
      controller.enqueue(new TextEncoder().encode(text));
      for (let turn = 0; turn < 3; turn++) await new Promise(setImmediate); // or it would be sent whole
    }
    controller.close();
  },
}), { status: 201, headers: { 'content-type': 'text/plain' } });
"""


def streamed(ending: Ending) -> tuple[dict[str, Any], bytes]:
    """Head and body of a response that was sent in order and to its end."""
    kinds = "".join(kind for kind, _ in ending.finals)
    assert kinds == "S" + "C" * (len(kinds) - 2) + "Z", ending.finals
    return json.loads(ending.finals[0][1]), b"".join(body for kind, body in ending.finals if kind == "C")


@pytest.mark.parametrize(
    ("language", "code", "content_type", "body"),
    [
        ("python", "def handler(p, z):\n yield 'ä'\n yield 'b'", "text/plain; charset=utf-8", "äb".encode()),
        ("python", "async def handler(p, z):\n yield b'a'\n yield b'b'", "application/octet-stream", b"ab"),
        ("python", "def handler(p, z):\n return ({'n': n} for n in range(2))",
         "application/x-ndjson", b'{"n":0}\n{"n":1}\n'),
        ("python", "def handler(p, z):\n return iter(['a', 1])", "text/plain; charset=utf-8", b"a1\n"),
        ("python", "def handler(p, z):\n return iter(())", None, b""),
        ("javascript", "exports.handler = async function* () { yield 'ä'; yield 'b'; }",
         "text/plain; charset=utf-8", "äb".encode()),
        ("javascript", "exports.handler = function* () { yield Buffer.from('a'); yield new Uint8Array([98]); }",
         "application/octet-stream", b"ab"),
        ("javascript", "exports.handler = async function* () { yield { n: 0 }; yield [1]; }",
         "application/x-ndjson", b'{"n":0}\n[1]\n'),
        ("javascript", "exports.handler = () => require('stream').Readable.from(['a', 'b'])",
         "text/plain; charset=utf-8", b"ab"),
        ("javascript", "exports.handler = async function* () {}", None, b""),
    ],
)  # fmt: skip
def test_what_a_generator_yields_goes_out_piece_by_piece(
    language: str, code: str, content_type: str | None, body: bytes
) -> None:
    head, sent = streamed(run(language, code))
    assert (head["status"], head["headers"].get("content-type"), sent) == (200, content_type, body)


@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("python", "def handler(p, z):\n return z.response(iter(['x', {'n': 1}]), status=201,"
         " headers={'Content-Type': 'text/event-stream; charset=utf-8'})"),
        ("javascript", "exports.handler = (p, z) => z.response((async function* () { yield 'x'; yield { n: 1 }; })(),"
         " { status: 201, headers: { 'Content-Type': 'text/event-stream; charset=utf-8' } })"),
    ],
)  # fmt: skip
def test_values_become_events_in_a_stream_of_events(language: str, code: str) -> None:
    head, sent = streamed(run(language, code))
    assert head == {"status": 201, "headers": {"Content-Type": "text/event-stream; charset=utf-8"}}
    assert sent == b'xdata: {"n":1}\n\n'


def test_a_web_response_made_of_a_stream_goes_out_as_it_comes() -> None:
    head, sent = streamed(run("javascript", WEB_STREAM))
    assert (head["status"], head["headers"], sent) == (201, {"content-type": "text/plain"}, b"ab")


def test_a_web_response_whose_body_is_there_already_is_sent_whole() -> None:
    status, _, body = run("javascript", "exports.handler = () => new Response('x'.repeat(200000))").response
    assert (status, len(body)) == (200, 200_000)


@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("python", "def handler(p, z):\n yield b'x' * 1_000_000"),
        ("javascript", "exports.handler = function* () { yield Buffer.alloc(1_000_000, 'x'); }"),
    ],
)
def test_a_large_piece_is_cut_and_may_be_larger_than_a_result(language: str, code: str) -> None:
    ending = run(language, code, result_bytes=1000)
    assert streamed(ending)[1] == b"x" * 1_000_000
    assert max(len(body) for _, body in ending.finals) == 64 * 1024


@pytest.mark.parametrize(
    ("language", "code", "type"),
    [
        ("python", "def handler(p, z):\n raise ValueError('no')\n yield 1", "ValueError"),
        ("javascript", "exports.handler = async function* () { throw new RangeError('no'); }", "RangeError"),
        ("python", "def handler(p, z):\n yield {1j}", "invalid_result"),
        ("javascript", "exports.handler = async function* () { yield 1n; }", "invalid_result"),
    ],
)
def test_an_error_before_the_first_piece_is_an_ordinary_one(language: str, code: str, type: str) -> None:
    assert run(language, code).error["type"] == type


@pytest.mark.parametrize(
    ("language", "code", "type"),
    [
        ("python", "async def handler(p, z):\n yield 'a'\n raise ValueError('no')", "ValueError"),
        ("javascript", "exports.handler = async function* () { yield 'a'; throw new RangeError('no'); }", "RangeError"),
        ("javascript", "exports.handler = async function* () { yield 'a'; await new Promise(() => {}); }", "no_result"),
    ],
)
def test_an_error_after_the_first_chunk_ends_the_stream(language: str, code: str, type: str) -> None:
    ending = run(language, code)
    assert [kind for kind, _ in ending.finals] == ["S", "C", "E"]
    assert json.loads(ending.finals[-1][1])["type"] == type


def test_an_async_generator_runs_in_the_loop_of_the_handler() -> None:
    code = """
        import asyncio
        async def handler(payload, zmesh):
            loop = asyncio.get_running_loop()
            async def pieces():
                yield str(asyncio.get_running_loop() is loop)
            return zmesh.response(pieces())
    """
    assert streamed(run("python", code))[1] == b"True"
