"""The parser of frames for whatever a run sends, in pieces of any size, and what a caller is told."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from listener.attempts import outcome_of
from listener.environments import Environment
from sandbox import Limits, RunOutcome, RunRequest
from sandbox.host.child import Child, next_piece
from sandbox.protocol import frames
from sandbox.protocol.frames import FrameError, FrameParser

LARGEST_LOG, LARGEST_ERROR = 6 * 64 * 1024 + 1024, 1024 * 1024
KINDS = st.sampled_from([frames.LOG, frames.RESULT, frames.RESPONSE, frames.ERROR])
FRAMES = st.lists(st.tuples(KINDS, st.binary(max_size=300)), max_size=20)


def fed(parser: FrameParser, data: bytes, cuts: list[int]) -> list[tuple[bytes, bytes]]:
    """All frames, the data given in pieces of these lengths."""
    found = []
    for cut in [*cuts, len(data)]:
        piece, data = data[:cut], data[cut:]
        found += list(parser.feed(piece))
    return found


@given(FRAMES, st.lists(st.integers(0, 400), max_size=40))
def test_what_was_sent_comes_out_however_it_is_cut(sent: list[tuple[bytes, bytes]], cuts: list[int]) -> None:
    data = b"".join(frames.encode(kind, body) for kind, body in sent)

    assert fed(FrameParser(300), data, cuts) == sent


@given(st.binary(max_size=2000), st.lists(st.integers(0, 100), max_size=40))
def test_noise_is_frames_or_an_error_and_never_grows_in_memory(data: bytes, cuts: list[int]) -> None:
    parser = FrameParser(1000)
    with contextlib.suppress(FrameError):
        for kind, body in fed(parser, data, cuts):
            assert kind in (*frames.FINAL, frames.LOG, frames.BOOTED, frames.STREAM, frames.CHUNK)
            assert len(body) <= LARGEST_ERROR
    assert len(parser._buffer) <= len(data)


@given(FRAMES, st.binary(min_size=5, max_size=50).filter(lambda b: b[:1] not in b"LRHEB"))
def test_frames_before_noise_still_count(sent: list[tuple[bytes, bytes]], noise: bytes) -> None:
    parser = FrameParser(300)
    found = []
    with contextlib.suppress(FrameError):
        for frame in parser.feed(b"".join(frames.encode(*one) for one in sent) + noise):
            found.append(frame)

    assert found == sent


@pytest.mark.parametrize(
    ("kind", "length", "error"),
    [
        (b"R", 1001, "result_too_large"),
        (b"H", 1000 * 4 // 3 + 65537, "result_too_large"),
        (b"S", 64 * 1024 + 1, "invalid_result"),
        (b"L", LARGEST_LOG + 1, "protocol_error"),
        (b"E", LARGEST_ERROR + 1, "protocol_error"),
        (b"B", 1, "protocol_error"),
        (b"D", 1, "protocol_error"),
        (b"\0", 0, "protocol_error"),
    ],
)
def test_a_length_beyond_the_limit_is_refused_before_its_body_comes(kind: bytes, length: int, error: str) -> None:
    with pytest.raises(FrameError) as caught:
        list(FrameParser(1000).feed(kind + length.to_bytes(4, "big")))

    assert caught.value.kind == error


@pytest.mark.parametrize("kind", [frames.BOOTED, frames.ATTACHMENT])
def test_a_run_boots_once_and_asks_for_an_attachment_once(kind: bytes) -> None:
    parser = FrameParser(10)
    assert list(parser.feed(frames.encode(kind, b""))) == [(kind, b"")]

    with pytest.raises(FrameError):
        list(parser.feed(frames.encode(kind, b"")))


def test_a_frame_that_comes_in_pieces_is_one_frame() -> None:
    parser = FrameParser(10)
    frame = frames.encode(frames.IMPORTED, b'["a"]')

    assert [found for byte in frame for found in parser.feed(bytes([byte]))] == [(frames.IMPORTED, b'["a"]')]


# From here on the whole way, from the bytes of two runs to what the database would keep of each.

RESULT_BYTES = 400
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
TEXTS = JSON.map(lambda value: json.dumps(value).encode())
ERRORS = st.fixed_dictionaries({"type": JSON, "message": JSON}, optional={"stack": JSON}).map(
    lambda e: json.dumps(e).encode()
)
RESPONSES = st.fixed_dictionaries(
    {
        "status": st.integers(0, 700) | JSON,
        "headers": st.dictionaries(st.text(), JSON) | JSON,
        "body_base64": st.text() | JSON,
    }
).map(lambda response: json.dumps(response).encode())
LINES = st.fixed_dictionaries(
    {"at": JSON, "level": st.sampled_from(["info", "error", "?"]) | JSON, "message": JSON}
).map(lambda line: json.dumps(line).encode())
BODIES = st.one_of(TEXTS, ERRORS, RESPONSES, LINES, st.binary(max_size=500), st.just(b"[" * 300), st.just(b'"\\ud800"'))
PIECES = st.one_of(
    st.builds(frames.encode, KINDS, BODIES),
    st.builds(frames.encode, st.just(frames.BOOTED), st.just(b"") | st.binary(max_size=3)),
    st.builds(lambda kind, length: kind + length.to_bytes(4, "big"), KINDS, st.integers(0, 2**32 - 1)),
    st.binary(max_size=50),
    BODIES,
)
STREAMS = st.lists(PIECES, max_size=8).map(b"".join)
REPORTS = (
    st.fixed_dictionaries({"exit": st.none() | st.integers(0, 255), "signal": st.none() | st.integers(1, 64)})
    | st.none()
)


def what_counts(stream: bytes) -> tuple[bytes, bytes] | None:
    """The first final frame, if nothing before it is wrong: read as simply as can be."""
    largest = {
        b"L": LARGEST_LOG,
        b"R": RESULT_BYTES,
        b"H": RESULT_BYTES * 4 // 3 + 65536,
        b"E": LARGEST_ERROR,
    }
    booted = False
    while len(stream) >= 5:
        kind, length = stream[:1], int.from_bytes(stream[1:5], "big")
        if kind == b"B" and length == 0 and not booted:
            booted = True
        elif length > largest.get(kind, -1):
            return None
        body, stream = stream[5 : 5 + length], stream[5 + length :]
        if len(body) < length:
            return None
        if kind in frames.FINAL:
            return kind, body
    return None


class Run:
    """The run's ends of a child, in this process."""

    def __init__(self) -> None:
        self.child = Child(1, 0)
        channel, *pipes, supervision = (os.dup(fd) for fd in self.child.fds_of_run)
        self.channel, self.supervision = socket.socket(fileno=channel), socket.socket(fileno=supervision)
        self.pipes = pipes
        self.child.handed_over()

    def outcome(self) -> asyncio.Task[RunOutcome]:
        request = RunRequest(
            "python", "", "handler", "f.py", "{}", limits=Limits(result_bytes=RESULT_BYTES, timeout_ms=60_000)
        )
        return asyncio.create_task(self.child.run(request, asyncio.Event(), None))

    async def send(self, stream: bytes, cuts: list[int], printed: bytes) -> None:
        for start, end in pieces(len(stream), cuts):
            with contextlib.suppress(OSError):  # it was told enough
                self.channel.sendall(stream[start:end])
            await asyncio.sleep(0)
        for pipe in self.pipes:
            with contextlib.suppress(OSError):
                os.write(pipe, printed)

    def end(self, report: object) -> None:
        if report is not None:
            with contextlib.suppress(OSError):
                self.supervision.send(json.dumps(report).encode())
        self.channel.close()
        self.supervision.close()
        for pipe in self.pipes:
            os.close(pipe)


def pieces(length: int, cuts: list[int]) -> Iterator[tuple[int, int]]:
    start = 0
    for cut in cuts:
        yield start, min(start + cut, length)
        start = min(start + cut, length)
    yield start, length


async def side_by_side(streams: list[bytes], cuts: list[int], printed: bytes, report: object) -> list[RunOutcome]:
    """Two runs that send at the same time. Fails when anything reaches the loop."""
    trouble: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: trouble.append(context))
    runs = [Run() for _ in streams]
    outcomes = [run.outcome() for run in runs]
    await asyncio.sleep(0)
    await asyncio.gather(*(run.send(stream, cuts, printed) for run, stream in zip(runs, streams, strict=True)))
    for run in runs:
        run.end(report)
    ended = await asyncio.gather(*outcomes)
    await asyncio.sleep(0)
    assert trouble == []
    return ended


TWO_RUNS = (st.tuples(STREAMS, STREAMS), st.lists(st.integers(0, 100), max_size=10), st.binary(max_size=100), REPORTS)


def assert_each_decides_its_own_outcome_only(
    streams: tuple[bytes, bytes], cuts: list[int], printed: bytes, report: object
) -> None:
    outcomes = asyncio.run(side_by_side(list(streams), cuts, printed, report))

    for stream, outcome in zip(streams, outcomes, strict=True):
        final = what_counts(stream)
        assert (outcome.status == "success") == (outcome.error is None)
        if outcome.result_json is not None:
            assert final == (frames.RESULT, outcome.result_json.encode())
        if outcome.response is not None:
            assert final is not None
            assert final[0] == frames.RESPONSE
        if final is None:
            assert outcome.status == "error"
        job: Any = SimpleNamespace(id=None, attempt=1)
        kept = asyncio.run(outcome_of(job, Environment({}), outcome))
        texts = [*(kept.error or {}).values(), *(line["message"] for line in kept.logs)]
        assert not [text for text in texts if text and "\x00" in text.encode().decode()], "PostgreSQL refuses it"


@settings(deadline=None, max_examples=30)
@given(*TWO_RUNS)
def test_a_run_decides_its_own_outcome_only(
    streams: tuple[bytes, bytes], cuts: list[int], printed: bytes, report: object
) -> None:
    assert_each_decides_its_own_outcome_only(streams, cuts, printed, report)


async def test_how_a_run_ended_is_known_though_it_ended_before_its_supervisor_read_what_we_sent() -> None:
    run = Run()
    outcome = run.outcome()
    while not select.select([run.supervision], [], [], 0)[0]:
        await asyncio.sleep(0)

    run.end({"exit": 7, "signal": None})

    error = (await outcome).error
    assert error is not None
    assert error.type == "exited"


async def test_why_a_supervisor_failed_is_known_though_it_failed_before_there_was_anything_to_run() -> None:
    run = Run()
    run.end({"failed": "Operation not permitted (chown needs CAP_CHOWN)"})
    while run.child.alive:
        await asyncio.sleep(0)

    error = (await run.outcome()).error

    assert error is not None
    assert error.message == "Operation not permitted (chown needs CAP_CHOWN)"


def test_costly_pieces_of_the_channel_get_smaller_and_cheap_ones_larger() -> None:
    assert next_piece(16_384, 16_384, seconds=0.001) == 32_768
    assert next_piece(16_384, 100, seconds=0.001) == 16_384
    assert next_piece(16_384, 16_384, seconds=0.004) == 16_384
    assert next_piece(16_384, 16_384, seconds=0.1) == 8_192
    assert next_piece(4_096, 4_096, seconds=0.1) == 4_096
    assert next_piece(262_144, 262_144, seconds=0.0) == 262_144
