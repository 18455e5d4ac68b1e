"""From what was observed of a run to what its caller is told. If a limit was hit, it is always named."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from sandbox.confinement.limits import MIB, MOST_LOCKS, Limits
from sandbox.host.logs import LogKeeper
from sandbox.host.streams import Streamed, checked_head
from sandbox.model import RunError, RunOutcome, Runtime
from sandbox.protocol import frames
from sandbox.protocol.frames import FrameError

OUT_OF_MEMORY_SIGNALS = (signal.SIGABRT, signal.SIGTRAP, signal.SIGSEGV, signal.SIGILL)
OUT_OF_MEMORY_TEXTS = (
    *(b"heap out of memory", b"Fatal process out of memory", b"Fatal process OOM"),  # V8
    *(b"std::bad_alloc", b"memory allocation of "),  # C++, Rust
)
# The dynamic linker ends a process with this code if there is no memory for a library's thread-local data.
LINKER_FAILED, LINKER_OUT_OF_MEMORY = 127, b"cannot allocate memory"
LONGEST_MESSAGE = 16 * 1024
LONGEST_STACK = 64 * 1024
LARGEST_HEADERS = 1024 * 1024
LARGE = 64 * 1024  # bytes of a final frame; a smaller one is read in a millisecond or two
_READING = ThreadPoolExecutor(2, thread_name_prefix="reading results")
StopReason = Literal["timeout", "cancelled"]


@dataclass(slots=True)
class Observed:
    """What the sandbox observed: the run's final frame, how its process ended, and why it was stopped, if it was."""

    limits: Limits
    runtime: Runtime
    logs: LogKeeper
    streamed: Streamed
    final: tuple[bytes, bytes] | None = None
    stopped: StopReason | None = None
    violation: FrameError | None = None
    report: Mapping[str, Any] = field(default_factory=dict)
    oom_killed: bool = False  # the kernel killed some process for lack of memory while this one ran
    duration_ms: int = 0


def ended_by_somebody_else(seen: Observed) -> bool:
    """Whether a SIGKILL that neither we nor the supervisor sent ended the run or its supervisor."""
    if seen.final is not None or seen.stopped or seen.violation is not None or seen.report.get("limit"):
        return False
    return not seen.report or seen.report.get("signal") == signal.SIGKILL


def _was_killed(seen: Observed) -> bool:
    """Whether it was lost, or ended by a SIGKILL or SIGTERM that neither the platform nor a limit sent."""
    if seen.report.get("signal") == signal.SIGTERM:
        return seen.final is None and not seen.stopped and seen.violation is None
    return ended_by_somebody_else(seen) and _limit_of_ending(seen) is None


def verdict(seen: Observed) -> RunOutcome:
    """The outcome; a complete final frame decides it, whatever happened to the process afterwards."""
    result: str | None = None
    response: Mapping[str, Any] | None = None
    error: RunError | None = None
    if seen.final is not None:
        result, response, error = _of_final_frame(*seen.final, seen.streamed)
    else:
        error = _of_silence(seen)
    status: Literal["success", "error", "timeout", "cancelled"] = "error" if error else "success"
    if seen.final is None and seen.stopped:
        status = seen.stopped
    return RunOutcome(
        status=status,
        result_json=result,
        response=response,
        error=error,
        logs=seen.logs.lines,
        duration_ms=seen.duration_ms,
        cpu_ms=round(float(seen.report.get("cpu_seconds") or 0) * 1000),
        peak_memory_bytes=int(seen.report.get("peak_bytes") or 0),
        killed=_was_killed(seen),
    )


async def verdict_off_the_loop(seen: Observed) -> RunOutcome:
    """The same, in a thread if the final frame is large."""
    if seen.final is None or len(seen.final[1]) + seen.streamed.kept_bytes <= LARGE:
        return verdict(seen)
    return await asyncio.get_running_loop().run_in_executor(_READING, verdict, seen)


def _of_final_frame(
    kind: bytes, body: bytes, streamed: Streamed
) -> tuple[str | None, Mapping[str, Any] | None, RunError | None]:
    try:
        if kind == frames.STREAMED:
            return None, streamed.response(), None
        text = body.decode("utf-8")
        if kind == frames.RESULT:
            _check(text)
            return text, None, None
        if kind == frames.RESPONSE:
            return None, _response(text), None
        return None, None, _user_error(_parsed(text))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        return None, None, RunError("invalid_result", f"The function's result is invalid: {error}")


def _check(text: str) -> None:
    """Raises ValueError for text that is not JSON. Builds no values: there may be millions."""
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except msgspec.DecodeError:
        # Half of a surrogate pair is valid JSON, but no decoder accepts it.
        if "\\ud" not in text and "\\uD" not in text:
            raise
        msgspec.json.decode(text.replace("\\ud", "\\u0").replace("\\uD", "\\u0"), type=msgspec.Raw)


def _parsed(text: str) -> Any:
    """The value of a JSON text that is not large."""
    return json.loads(text, parse_constant=_refuse_constant)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


class _Response(msgspec.Struct):
    """Headers in the form received: their size is checked before they are read."""

    status: int
    headers: msgspec.Raw
    body_base64: str


def _response(text: str) -> Mapping[str, Any]:
    response = msgspec.json.decode(text, type=_Response)
    if len(bytes(response.headers)) > LARGEST_HEADERS:
        raise ValueError(f"the headers of a response have at most {LARGEST_HEADERS} bytes")
    base64.b64decode(response.body_base64, validate=True)
    head = checked_head({"status": response.status, "headers": _parsed(bytes(response.headers).decode())})
    return {**head, "body_base64": response.body_base64}


def _user_error(value: Any) -> RunError:
    stack = value.get("stack")
    return RunError(
        type=str(value["type"])[:200],
        message=str(value["message"])[:LONGEST_MESSAGE],
        stack=None if stack is None else str(stack)[:LONGEST_STACK],
    )


def _of_silence(seen: Observed) -> RunError:
    """Why a run ended without a final frame."""
    limits = seen.limits
    if seen.stopped == "timeout":
        return RunError(
            "timeout", f"The function did not finish within {limits.timeout_ms} ms. Raise timeout_ms or do less."
        )
    if seen.stopped == "cancelled":
        return RunError("cancelled", "The invocation was cancelled while it ran.")
    if seen.violation is not None:
        return RunError(seen.violation.kind, str(seen.violation))
    named = seen.report.get("limit") or _limit_of_ending(seen)
    if named == "memory_limit":
        return RunError(named, f"The function used more than its {limits.memory_mb} MB of memory. Raise memory_mb.")
    if named == "cpu_limit":
        return RunError(named, f"The function used more than {limits.cpu_seconds} s of CPU time.")
    if named == "file_size_limit":
        return RunError(named, f"The function wrote a file larger than {limits.file_mb} MB.")
    if named == "file_lock_limit":
        return RunError(
            named, f"The function held more than {MOST_LOCKS:,} locks on files. Release them, or lock larger ranges."
        )
    return _of_unknown_ending(seen)


def _limit_of_ending(seen: Observed) -> str | None:
    number = seen.report.get("signal")
    if number == signal.SIGXCPU or float(seen.report.get("cpu_seconds") or 0) >= seen.limits.cpu_seconds:
        return "cpu_limit"
    if number == signal.SIGXFSZ:
        return "file_size_limit"
    tail = seen.logs.error_tail
    if number in OUT_OF_MEMORY_SIGNALS and any(text in tail for text in OUT_OF_MEMORY_TEXTS):
        return "memory_limit"
    if seen.report.get("exit") == LINKER_FAILED and LINKER_OUT_OF_MEMORY in tail:
        return "memory_limit"
    return None


def _of_unknown_ending(seen: Observed) -> RunError:
    report = seen.report
    if seen.oom_killed:
        used, allowed = int(report.get("peak_bytes") or 0) // MIB, seen.limits.memory_mb
        return RunError(
            "memory_limit",
            "The kernel killed the function's process because this machine or the listener's container ran out of "
            f"memory. The function had used {used} MB of the {allowed} MB that it may use: give the listener more "
            "memory or fewer slots, or the function a lower memory_mb.",
        )
    if report.get("signal") is not None:
        number = report["signal"]
        name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
        return RunError("crashed", f"The function's process was ended by {name} before it returned a result.")
    if report.get("exit") is not None:
        return RunError(
            "exited", f"The function ended its process (exit code {report['exit']}) before it returned a result."
        )
    lost = "The sandbox lost this run. Your code is not the cause."
    return RunError("sandbox_failed", str(report.get("failed") or lost))
