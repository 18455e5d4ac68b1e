"""The frame parser, whatever a run sends and however it is cut."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox import frames
from sandbox.frames import FrameError, FrameParser

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
            assert len(body) <= frames.LARGEST_ERROR
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
        (b"L", frames.LARGEST_LOG + 1, "protocol_error"),
        (b"E", frames.LARGEST_ERROR + 1, "protocol_error"),
        (b"B", 1, "protocol_error"),
        (b"\0", 0, "protocol_error"),
    ],
)
def test_a_length_beyond_the_limit_is_refused_before_its_body_comes(kind: bytes, length: int, error: str) -> None:
    with pytest.raises(FrameError) as caught:
        list(FrameParser(1000).feed(kind + length.to_bytes(4, "big")))

    assert caught.value.kind == error


def test_a_run_boots_once() -> None:
    parser = FrameParser(10)
    assert list(parser.feed(frames.encode(b"B", b""))) == [(b"B", b"")]

    with pytest.raises(FrameError):
        list(parser.feed(frames.encode(b"B", b"")))
