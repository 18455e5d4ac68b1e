"""Every limit of a run: what a caller may set, what follows from it, and who enforces it.

| limit                             | enforced by                                                                      |
|-----------------------------------|----------------------------------------------------------------------------------|
| memory of a run of Python         | RLIMIT_AS, which the run lowers when its job comes: `limiter_of_this_process`    |
| memory of a run of Node.js        | RLIMIT_DATA from its start, and the size of V8's heap: `standing_of_node`,       |
|                                   | `heap_flags`                                                                     |
| memory of all processes of a run  | its supervisor, which looks every 50 ms: `Limits.memory_bytes`                   |
| CPU time                          | its supervisor, over all processes; a run of Python also has RLIMIT_CPU          |
| locks on files                    | its supervisor: `MOST_LOCKS`                                                     |
| CPU priority                      | the run itself, before the user's code: `BACKGROUND_NICE`                        |
| processes, open files, file size, | rlimits from the start: `StandingLimits.rlimits`                                 |
| stack                             |                                                                                  |
| all files of a workspace          | the size of its tmpfs, where there are namespaces: `root.add_own`                |
| wall-clock time                   | the host, which has the supervisor end the run: `host/child.py`                  |
| result, output                    | the host, which reads no more: `protocol/table.py`, `host/logs.py`               |

A run gets to know its limits once, with its job; its supervisor once, by the order to watch it (protocol/table.py).
"""

from __future__ import annotations

import contextlib
import os
import resource
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sandbox.confinement.plan import Plan

MIB = 1024 * 1024
MOST_LOCKS = 10_000  # on files, of all processes of a run: each takes kernel memory that nothing else counts

# Measured with Node.js 24: 567 MB of data segments are mapped before a line of user code runs, mostly reserved and
# never touched; the stacks of libuv's four threads come with their first use.
_NODE_BOOT_BYTES = 640 * MIB
_NODE_FORKED_BYTES = 4 * 8 * MIB  # the stacks of that pool, beside what the template has mapped
_NODE_THREADS = 16  # V8's workers, libuv's pool and the main thread
_NODE_FORKED_THREADS = 5  # libuv's pool and the main thread
_HEAP_SHARE = 0.75  # of the limit; the rest is for buffers, wasm and the runtime's own objects
_LEAST_HEAP_MB = 16
_HEAP_CLASSES = [megabytes << doubling for doubling in range(10) for megabytes in (64, 96)]

# Of a workspace, for the files that the function itself consists of: what a run may write comes on top.
_OF_FUNCTION_MB = 16
_OF_FUNCTION_FILES = 4_096

# How much nicer a run in the background is: it gets half the CPU time of one with a waiting caller. With more than
# that, one project whose callers wait for busy runs could slow the background runs of all others until they time out.
# A run cannot take it back: RLIMIT_NICE is 0.
BACKGROUND_NICE = 3
OOM_SCORE_ADJUSTMENT = 500  # the kernel, out of memory, ends a run before the template or the listener
_RLIMIT = struct.Struct("=QQ")  # struct rlimit64: soft, hard


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run may use.

    `cpu_seconds` is over all its processes, `memory_mb` beside what the runtime itself needs, `processes` counts
    children and threads, `file_mb` one file, `workspace_mb` and `workspace_files` all files together,
    `log_bytes` what is kept of its output; what goes beyond is dropped with a notice.
    """

    timeout_ms: int = 10_000
    memory_mb: int = 256
    processes: int = 50
    open_files: int = 256
    file_mb: int = 10
    workspace_mb: int = 64
    workspace_files: int = 16_384
    result_bytes: int = 8 * MIB
    log_bytes: int = MIB
    log_lines: int = 10_000

    @property
    def cpu_seconds(self) -> int:
        """CPU time: the wall-clock limit, rounded up, and two seconds."""
        return -(-self.timeout_ms // 1000) + 2

    @property
    def memory_bytes(self) -> int:
        return self.memory_mb * MIB

    def for_job(self, *, background: bool) -> dict[str, int]:
        """What a run is told of them, with its job."""
        return {
            "memory_bytes": self.memory_bytes,
            "cpu_seconds": self.cpu_seconds,
            "timeout_ms": self.timeout_ms,
            "result_bytes": self.result_bytes,
            "nice": BACKGROUND_NICE if background else 0,
        }


# Limits that stand before a run's job is known


@dataclass(frozen=True, slots=True)
class StandingLimits:
    """What a process is limited to from its first moment, while it may still be parked. 0 `data_bytes` are no limit."""

    processes: int
    open_files: int
    file_bytes: int
    workspace_mb: int
    workspace_files: int
    stack_bytes: int
    data_bytes: int = 0

    def rlimits(self, more_processes: int = 0) -> dict[int, int]:
        """As setrlimit(2) has them; `more_processes` are others of the same user."""
        limits = {
            resource.RLIMIT_CORE: 0,
            resource.RLIMIT_FSIZE: self.file_bytes,
            resource.RLIMIT_NOFILE: self.open_files,
            resource.RLIMIT_NPROC: self.processes + more_processes,
            resource.RLIMIT_STACK: self.stack_bytes,
            resource.RLIMIT_MSGQUEUE: 0,
            resource.RLIMIT_SIGPENDING: 1024,  # also limits POSIX timers, which take 300 bytes of kernel memory each
            resource.RLIMIT_MEMLOCK: 64 << 10,
            resource.RLIMIT_RTPRIO: 0,
            resource.RLIMIT_NICE: 0,
        }
        if self.data_bytes:
            limits[resource.RLIMIT_DATA] = self.data_bytes
        return limits


def rlimits_of_template() -> dict[int, int]:
    """Of a template that has loaded packages: no lower than those of the runs that are forked from it, which set their
    own. All of these count as processes of one user."""
    return {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NPROC: 4096,
        resource.RLIMIT_MSGQUEUE: 0,
        resource.RLIMIT_MEMLOCK: 64 << 10,
        resource.RLIMIT_RTPRIO: 0,
        resource.RLIMIT_NICE: 0,
    }


def standing_of_python(limits: Limits) -> StandingLimits:
    """Of a run of Python; they do not depend on its memory."""
    return _standing(limits, own_threads=1, stack_bytes=2 * MIB)


def standing_of_node(limits: Limits, template_data_bytes: int | None) -> StandingLimits:
    """Of a run of Node.js that is forked from a template with so much data, or started anew.

    RLIMIT_AS would end Node.js at start, since it reserves far more than it uses.
    """
    if template_data_bytes is None:
        own_bytes, own_threads = _NODE_BOOT_BYTES, _NODE_THREADS
    else:
        own_bytes, own_threads = template_data_bytes + _NODE_FORKED_BYTES, _NODE_FORKED_THREADS
    return _standing(limits, own_threads, stack_bytes=8 * MIB, data_bytes=own_bytes + limits.memory_bytes)


def _standing(limits: Limits, own_threads: int, stack_bytes: int, data_bytes: int = 0) -> StandingLimits:
    return StandingLimits(
        processes=limits.processes + own_threads,
        open_files=limits.open_files,
        file_bytes=limits.file_mb * MIB,
        workspace_mb=limits.workspace_mb + _OF_FUNCTION_MB,
        workspace_files=limits.workspace_files + _OF_FUNCTION_FILES,
        stack_bytes=stack_bytes,
        data_bytes=data_bytes,
    )


def add_rlimits(plan: Plan, limits: Mapping[int, int]) -> None:
    """Have the process set these, never above the hard limit that already stands."""
    for kind, value in limits.items():
        _, hard = resource.getrlimit(kind)
        lowered = value if hard == resource.RLIM_INFINITY else min(value, hard)
        plan.call("prlimit64", 0, kind, _RLIMIT.pack(lowered, lowered), 0)


def heap_class(memory_mb: int) -> int:
    """The limit that the heap of the template for such runs is sized for: at most theirs, so that V8 collects garbage
    in time. The limit of the run itself is exact."""
    return max((size for size in _HEAP_CLASSES if size <= memory_mb), default=memory_mb)


def heap_flags(memory_mb: int) -> list[str]:
    """What tells V8 the size of its heap. Without the trap handler a wasm memory reserves no guard regions."""
    old_space_mb = max(_LEAST_HEAP_MB, int(memory_mb * _HEAP_SHARE))
    return [f"--max-old-space-size={old_space_mb}", "--max-semi-space-size=8", "--disable-wasm-trap-handler"]


# Limits that come with the job


def limiter_of_this_process() -> Callable[[Mapping[str, int]], None]:
    """In a run of Python that is ready for its job: what applies the limits that come with it (`Limits.for_job`).

    What the process holds by now is the runtime's own, and is not counted.
    """
    own_bytes = _address_space()

    def limit(limits: Mapping[str, int]) -> None:
        _lower(resource.RLIMIT_AS, own_bytes + limits["memory_bytes"])
        _lower(resource.RLIMIT_CPU, limits["cpu_seconds"], extra=1)

    return limit


def _lower(kind: int, value: int, extra: int = 0) -> None:
    """Set a limit, never above the hard one that already stands; `extra` is how much higher the hard one is."""
    _, hard = resource.getrlimit(kind)
    ceiling = value + extra if hard == resource.RLIM_INFINITY else min(hard, value + extra)
    with contextlib.suppress(ValueError):
        resource.setrlimit(kind, (min(value, ceiling), ceiling))


def _address_space() -> int:
    file = os.open("/proc/self/statm", os.O_RDONLY)
    pages = os.read(file, 64).split()[0]
    os.close(file)
    return int(pages) * resource.getpagesize()
