"""The log keeper: for any input, what it keeps is bounded, in order, and marked where it was cut."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from sandbox.host.logs import LEVELS, LONGEST_LINE, LogKeeper

PIECES = st.lists(st.tuples(st.sampled_from(["frame", "info", "error"]), st.binary(max_size=200)), max_size=60)


@given(PIECES, st.integers(0, 2000), st.integers(0, 30))
def test_what_is_kept_is_bounded(pieces: list[tuple[str, bytes]], max_bytes: int, max_lines: int) -> None:
    keeper = LogKeeper(max_bytes, max_lines)
    for what, data in pieces:
        if what == "frame":
            keeper.add_frame(data)
        else:
            keeper.add_bytes(what, data)
    keeper.flush()

    notices = [line for line in keeper.lines if "dropped" in line.message and line.level == "warning"]
    assert len(keeper.lines) <= max_lines + 1
    assert sum(len(line.message.encode()) for line in keeper.lines) <= max_bytes + 100
    assert len(notices) <= 1
    assert not notices or keeper.lines[-1] is notices[0]
    assert all(line.level in LEVELS for line in keeper.lines)


@given(st.lists(st.text(alphabet=st.characters(exclude_characters="\n", codec="utf-8"), max_size=30), max_size=20),
       st.integers(1, 7))  # fmt: skip
def test_lines_are_the_same_however_they_are_cut(lines: list[str], size: int) -> None:
    data = "".join(f"{line}\n" for line in lines).encode()
    keeper = LogKeeper(1 << 20, 1000)
    for at in range(0, len(data), size):
        keeper.add_bytes("info", data[at : at + size])
    keeper.flush()

    assert [line.message for line in keeper.lines] == lines


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=8,
)


@given(st.fixed_dictionaries({}, optional={"at": JSON, "level": JSON, "message": JSON}) | JSON)
def test_any_json_as_a_line_is_kept_with_a_time_that_can_be_true(value: object) -> None:
    keeper = LogKeeper(1 << 20, 10)
    keeper.add_frame(json.dumps(value).encode())

    [line] = keeper.lines
    assert abs((line.at - datetime.now(UTC)).total_seconds()) < 3700
    assert line.level in LEVELS
    line.message.encode("utf-8", "replace")


def test_a_line_without_end_is_cut() -> None:
    keeper = LogKeeper(1 << 20, 100)
    for _ in range(5):
        keeper.add_bytes("error", b"x" * LONGEST_LINE)
    keeper.flush()

    assert max(len(line.message) for line in keeper.lines) <= LONGEST_LINE
    assert sum(len(line.message) for line in keeper.lines) == 5 * LONGEST_LINE
    assert len(keeper.error_tail) <= 16 * 1024


def test_after_a_hundred_malformed_lines_the_rest_is_dropped_with_a_notice() -> None:
    keeper = LogKeeper(1 << 20, 10_000)
    for _ in range(5_000):
        keeper.add_frame(b"")
    keeper.add_frame(b'{"at": 0, "level": "info", "message": "too late"}')

    assert [line.message for line in keeper.lines[:-1]] == [""] * 100
    assert keeper.lines[-1].message == "[zmesh] output beyond the limit was dropped from here on"
