"""Measures how long an event loop is blocked, not counting stalls of the machine, and which stacks block it."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

LIMIT_MS = 50.0  # nothing that a tenant or client sends may block a loop for longer
BEAT_SECONDS = 0.02
LOOK_SECONDS = 0.025
WINDOW_SECONDS = 60
REPORT_SECONDS = 1.0
FRAMES = 8
IDLE = frozenset({"wait", "_worker", "select", "_run", "run_once"})  # functions in which a thread is idle


class LoopWatch:
    """A timer that measures its own delay, and a thread that samples stacks meanwhile."""

    def __init__(self, on_blocked: Callable[[float, str], None]) -> None:
        """`on_blocked` gets the ms of a block above the limit and the stacks, at most once a second."""
        self._on_blocked = on_blocked
        self._due = 0.0
        self._stalls = Stalls()
        self._beat_at = 0.0
        self._stacks = ""
        self._seconds: dict[int, float] = {}  # the longest of each second of the window, in ms
        self._reported_at = 0.0
        self._stopped = threading.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._loop_thread = 0
        self.longest_ms = 0.0  # since the start

    def start(self) -> None:
        """Watch the running loop until `stop`."""
        self._loop_thread = threading.get_ident()
        threading.Thread(target=self._look, name="loop watch", daemon=True).start()
        self._beat_at = time.monotonic()
        self._stalls.within(0.0, 0.0)
        self._arm()

    def stop(self) -> None:
        self._stopped.set()
        if self._timer is not None:
            self._timer.cancel()

    @property
    def recent_ms(self) -> float:
        """The longest block of the loop within the last minute, in ms."""
        oldest = int(time.monotonic()) - WINDOW_SECONDS
        return max((ms for second, ms in list(self._seconds.items()) if second >= oldest), default=0.0)

    def _arm(self) -> None:
        self._due = time.monotonic() + BEAT_SECONDS
        self._timer = asyncio.get_running_loop().call_later(BEAT_SECONDS, self._beat)

    def _beat(self) -> None:
        now = time.monotonic()
        late_ms = (now - self._due) * 1000
        self._due = math.inf  # from now on nothing is late, or this code would be found on the stack
        held_ms = max(0.0, late_ms - self._stalls.within((now - self._beat_at) * 1000, late_ms))
        self._beat_at = now
        self._note(int(now), held_ms)
        if held_ms > LIMIT_MS and now - self._reported_at > REPORT_SECONDS:
            self._reported_at = now
            self._on_blocked(held_ms, self._stacks or "an unknown cause")
        self._stacks = ""
        self._arm()

    def _note(self, second: int, held_ms: float) -> None:
        self.longest_ms = max(self.longest_ms, held_ms)
        if second not in self._seconds:
            self._seconds = {s: ms for s, ms in self._seconds.items() if s >= second - WINDOW_SECONDS}
        self._seconds[second] = max(self._seconds.get(second, 0.0), held_ms)

    def _look(self) -> None:
        own = threading.get_ident()
        while not self._stopped.wait(LOOK_SECONDS):
            if time.monotonic() - self._due > LOOK_SECONDS:
                self._stacks = _stacks(first=self._loop_thread, without=own)


class Stalls:
    """How long threads of this process waited for a processor, which is a stall of the machine. Linux reports it per
    thread; elsewhere nothing counts as a stall."""

    def __init__(self) -> None:
        self._files: dict[int, int] = {}  # per thread
        self._times: dict[int, tuple[int, int]] = {}  # nanoseconds that it ran, and that it waited for a processor

    def within(self, elapsed_ms: float, late_ms: float) -> float:
        """How much of the delay of the calling thread stalls explain, in the time since the previous call."""
        self._follow({thread.native_id for thread in threading.enumerate() if thread.native_id is not None})
        grown = {thread: self._grown(thread) for thread in self._files}
        ran, waited = grown.pop(threading.get_native_id(), (0.0, 0.0))
        if late_ms < LOOK_SECONDS * 1000:
            return 0.0
        # While this thread neither ran nor waited for a processor, the interpreter lock's holder may have stalled.
        blocked = max(0.0, elapsed_ms - ran - waited)
        return waited + min(blocked, max((wait for _, wait in grown.values()), default=0.0))

    def _grown(self, thread: int) -> tuple[float, float]:
        """By how many ms each value has grown."""
        try:
            ran, waited = (int(text) for text in os.pread(self._files[thread], 100, 0).split()[:2])
        except (OSError, ValueError):
            return 0.0, 0.0
        before = self._times.get(thread, (0, 0))  # a new thread started in between
        self._times[thread] = ran, waited
        return (ran - before[0]) / 1e6, (waited - before[1]) / 1e6

    def _follow(self, threads: set[int]) -> None:
        for thread in self._files.keys() - threads:
            os.close(self._files.pop(thread))
            self._times.pop(thread, None)
        for thread in threads - self._files.keys():
            with contextlib.suppress(OSError):
                self._files[thread] = os.open(f"/proc/self/task/{thread}/schedstat", os.O_RDONLY | os.O_CLOEXEC)


def _stacks(first: int, without: int) -> str:
    """The innermost frames of the loop's thread and of other busy threads: one may hold the interpreter lock."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    frames = {ident: frame for ident, frame in sys._current_frames().items() if ident != without}
    ordered = sorted(frames.items(), key=lambda item: item[0] != first)
    busy = [(ident, frame) for ident, frame in ordered if ident == first or frame.f_code.co_name not in IDLE]
    return "; ".join(f"[{names.get(ident, ident)}] {_stack(frame)}" for ident, frame in busy)


def _stack(frame: FrameType | None) -> str:
    found: list[str] = []
    while frame is not None and len(found) < FRAMES:
        file = "/".join(frame.f_code.co_filename.split("/")[-2:])
        found.append(f"{file}:{frame.f_lineno} {frame.f_code.co_name}")
        frame = frame.f_back
    return " < ".join(found)
