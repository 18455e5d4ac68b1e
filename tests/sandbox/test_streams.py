"""What a run may send piece by piece, and what is kept of it."""

from __future__ import annotations

import base64
import json

import pytest

from sandbox.host.streams import Streamed
from sandbox.protocol.frames import FrameError

HEAD = b'{"status": 200, "headers": {"x": "1"}}'


def test_a_short_response_is_kept_whole() -> None:
    streamed = Streamed(10, None)
    streamed.start(HEAD)
    for piece in (b"ab", b"c", b""):
        streamed.add(piece)
    assert streamed.response() == {
        "status": 200,
        "headers": {"x": "1"},
        "body_base64": base64.b64encode(b"abc").decode(),
        "streamed_bytes": 3,
        "kept": True,
    }


def test_of_a_long_one_nothing_is_kept_but_its_length() -> None:
    streamed = Streamed(10, None)
    streamed.start(HEAD)
    for _ in range(4):
        streamed.add(b"abc")
    assert (streamed.response()["body_base64"], streamed.response()["streamed_bytes"]) == ("", 12)
    assert streamed.response()["kept"] is False
    assert streamed.costly


def test_many_small_pieces_are_read_more_slowly() -> None:
    streamed = Streamed(10**6, None)
    streamed.start(HEAD)
    for _ in range(10_000):
        streamed.add(b"x")
    assert not streamed.costly
    streamed.add(b"x")
    assert streamed.costly


def test_a_piece_before_the_head_and_a_second_head_are_refused() -> None:
    streamed = Streamed(10, None)
    with pytest.raises(FrameError, match="had not begun"):
        streamed.add(b"a")
    streamed.start(HEAD)
    with pytest.raises(FrameError, match="a second response"):
        streamed.start(HEAD)
    with pytest.raises(ValueError, match="neither status nor headers"):
        Streamed(10, None).response()


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"status": 99, "headers": {}}',
        b'{"status": "200", "headers": {}}',
        b'{"status": 200, "headers": {"a b": "x"}}',
        b'{"status": 200, "headers": {"a": "x\\r\\ny"}}',
        b'{"status": 200, "headers": {"a": 1}}',
        b"[" * 100_000,
    ],
)
def test_a_head_that_http_cannot_carry_is_refused(head: bytes) -> None:
    with pytest.raises(FrameError):
        Streamed(10, None).start(head)


def test_an_empty_piece_is_the_end_and_none_comes_after_it() -> None:
    streamed = Streamed(10, None)
    streamed.start(b'{"status": 200, "headers": {}}')
    streamed.add(b"abc")
    streamed.add(b"")
    assert streamed.response()["streamed_bytes"] == 3
    for piece in (b"", b"d"):
        with pytest.raises(FrameError, match="after its end"):
            streamed.add(piece)


def test_a_header_that_is_too_long_is_named() -> None:
    with pytest.raises(FrameError, match="header x-long has 8193 characters; at most 8192 are allowed"):
        Streamed(10, None).start(json.dumps({"status": 200, "headers": {"x-long": "y" * 8193}}).encode())
