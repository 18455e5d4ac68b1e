"""From what was observed of a run to what its caller is told."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox import Limits
from sandbox.host.logs import LogKeeper
from sandbox.host.oom import OomKills
from sandbox.host.streams import Streamed
from sandbox.host.verdict import Observed, ended_by_somebody_else, verdict
from sandbox.protocol.frames import FrameError

ENDINGS: list[tuple[dict[str, Any], str, str]] = [
    ({"stopped": "timeout"}, "timeout", "timeout"),
    ({"stopped": "cancelled"}, "cancelled", "cancelled"),
    ({"violation": FrameError("protocol_error", "x")}, "error", "protocol_error"),
    ({"violation": FrameError("result_too_large", "x")}, "error", "result_too_large"),
    ({"report": {"limit": "memory_limit", "signal": 9}}, "error", "memory_limit"),
    ({"report": {"limit": "cpu_limit", "signal": 9}}, "error", "cpu_limit"),
    ({"report": {"signal": signal.SIGXCPU}}, "error", "cpu_limit"),
    ({"report": {"signal": 9, "cpu_seconds": 12.1}}, "error", "cpu_limit"),
    ({"report": {"signal": signal.SIGXFSZ}}, "error", "file_size_limit"),
    ({"report": {"signal": signal.SIGABRT}}, "error", "crashed"),
    ({"report": {"signal": signal.SIGABRT}, "stderr": b"FATAL ERROR: JavaScript heap out of memory"}, "error", "memory_limit"),
    ({"report": {"signal": signal.SIGTRAP}, "stderr": b"# Fatal process OOM in x"}, "error", "memory_limit"),
    ({"report": {"signal": signal.SIGABRT}, "stderr": b"what():  std::bad_alloc"}, "error", "memory_limit"),
    ({"report": {"signal": signal.SIGABRT}, "stderr": b"memory allocation of 64 bytes failed"}, "error", "memory_limit"),
    ({"report": {"exit": 127}, "stderr": b"cannot allocate memory for thread-local data: ABORT"}, "error", "memory_limit"),
    ({"report": {"exit": 127}, "stderr": b"sh: 1: x: not found"}, "error", "exited"),
    ({"report": {"exit": 0}, "stderr": b"heap out of memory"}, "error", "exited"),
    ({"report": {"signal": 9}, "stderr": b"heap out of memory"}, "error", "crashed"),
    ({"report": {"signal": 9}, "oom_killed": True}, "error", "memory_limit"),
    ({"oom_killed": True}, "error", "memory_limit"),
    ({"final": (b"R", b"1"), "oom_killed": True}, "success", ""),
    ({"report": {"exit": 7}}, "error", "exited"),
    ({"report": {"signal": 40}}, "error", "crashed"),
    ({"report": {"failed": "x"}}, "error", "sandbox_failed"),
    ({}, "error", "sandbox_failed"),
    ({"final": (b"R", b"1"), "stopped": "timeout", "report": {"signal": 9}}, "success", ""),
    ({"final": (b"R", b"NaN")}, "error", "invalid_result"),
    ({"final": (b"E", b'{"type": "ValueError", "message": "x"}')}, "error", "ValueError"),
    ({"final": (b"E", b"[]")}, "error", "invalid_result"),
    ({"final": (b"H", b'{"status": 200, "headers": {"a": "b"}, "body_base64": ""}')}, "success", ""),
    ({"final": (b"H", b'{"status": 200, "headers": {"a b": "c"}, "body_base64": ""}')}, "error", "invalid_result"),
    ({"final": (b"H", b'{"status": 200, "headers": {"a": "b\\nc: d"}, "body_base64": ""}')}, "error", "invalid_result"),
    ({"final": (b"H", b'{"status": 200, "headers": null, "body_base64": ""}')}, "error", "invalid_result"),
]  # fmt: skip


def observed(**seen: Any) -> Observed:
    limits = Limits()
    logs = LogKeeper(1 << 20, 100)
    logs.add_bytes("error", seen.pop("stderr", b""))
    return Observed(limits, "node", logs, Streamed(limits.result_bytes, None), **seen)


@pytest.mark.parametrize(("seen", "status", "error"), ENDINGS, ids=[f"{n} {e[2]}" for n, e in enumerate(ENDINGS)])
def test_every_ending_has_a_name(seen: dict[str, Any], status: str, error: str) -> None:
    outcome = verdict(observed(**seen))

    assert outcome.status == status
    assert (outcome.error.type if outcome.error else "") == error


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=8,
)


@given(
    st.sampled_from([b"R", b"H", b"E"]), st.binary(max_size=100) | JSON.map(lambda value: json.dumps(value).encode())
)
def test_any_final_frame_has_an_outcome(kind: bytes, body: bytes) -> None:
    outcome = verdict(observed(final=(kind, body)))

    assert outcome.status in ("success", "error")
    assert (outcome.error is None) == (outcome.status == "success")


@given(st.integers(1, 64))
def test_any_signal_has_an_outcome(number: int) -> None:
    outcome = verdict(observed(report={"signal": number, "exit": None}))

    assert outcome.error is not None
    assert outcome.error.message


@pytest.mark.parametrize(
    ("seen", "by_others"),
    [
        ({"report": {"signal": 9}}, True),
        ({}, True),
        ({"report": {"signal": 9, "limit": "memory_limit"}}, False),
        ({"report": {"signal": 9}, "stopped": "timeout"}, False),
        ({"report": {"signal": signal.SIGABRT}}, False),
        ({"report": {"exit": 1}}, False),
        ({"report": {"signal": 9}, "final": (b"R", b"1")}, False),
    ],
)
def test_only_a_kill_that_is_not_ours_may_be_the_kernels(seen: dict[str, Any], by_others: bool) -> None:
    assert ended_by_somebody_else(observed(**seen)) is by_others


def test_a_kill_for_lack_of_memory_is_noticed_by_the_kernels_counter(tmp_path: Path) -> None:
    counters = tmp_path / "vmstat"
    counters.write_text("pgfault 7\noom_kill 3\n")
    kills = OomKills(counters)
    before = kills.count()
    assert not kills.any_since(before)

    counters.write_text("pgfault 9\noom_kill 4\n")

    assert kills.any_since(before)


@pytest.mark.parametrize(
    ("seen", "killed"),
    [
        ({"report": {"signal": 9}}, True),
        ({"report": {"signal": 9}, "oom_killed": True}, True),
        ({"report": {"signal": 15}}, True),
        ({}, True),
        ({"report": {"signal": 9, "cpu_seconds": 12.1}}, False),
        ({"report": {"signal": 9, "limit": "memory_limit"}}, False),
        ({"report": {"signal": 9}, "stopped": "timeout"}, False),
        ({"report": {"signal": 15}, "final": (b"R", b"1")}, False),
        ({"report": {"signal": 11}}, False),
        ({"report": {"exit": 1}}, False),
    ],
)
def test_a_process_was_killed_if_neither_the_platform_nor_a_limit_ended_it(seen: dict[str, Any], killed: bool) -> None:
    assert verdict(observed(**seen)).killed == killed
