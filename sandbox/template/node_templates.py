"""The Node.js templates, from the point of view of the main template, which starts them."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from dataclasses import dataclass

from sandbox.confinement import seccomp
from sandbox.confinement.plan import Plan
from sandbox.confinement.root import WORKSPACE
from sandbox.template.programs import start_program
from sandbox.template.run_process import environment


@dataclass(frozen=True, slots=True)
class _NodeTemplate:
    number: int
    pid: int
    orders: socket.socket


class NodeTemplates:
    """Starts and ends them, and notices when they are ready or gone."""

    def __init__(self) -> None:
        self._by_number: dict[int, _NodeTemplate] = {}
        self._booting: set[socket.socket] = set()

    @property
    def booting(self) -> set[socket.socket]:
        """Sockets on which a starting template will report that it is ready."""
        return self._booting

    def start(self, number: int, argv: list[str]) -> None:
        """Start one; `hear` reports later that it is ready."""
        plan = Plan()
        seccomp.add_filter(plan, seccomp.without_io_uring())
        pid, orders = start_program(argv, environment(WORKSPACE), plan)
        self._by_number[number] = _NodeTemplate(number, pid, orders)
        self._booting.add(orders)

    def end(self, number: int) -> None:
        """End one; the runs forked from it continue."""
        if number in self._by_number:
            os.kill(self._by_number[number].pid, signal.SIGKILL)

    def end_all(self) -> None:
        """End all and wait for their ends."""
        for node in self._by_number.values():
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                os.kill(node.pid, signal.SIGKILL)
                os.waitpid(node.pid, 0)

    def hear(self, orders: socket.socket) -> str:
        """What a template that was starting reports, for the sandbox."""
        self._booting.discard(orders)
        node = next(node for node in self._by_number.values() if node.orders is orders)
        said = orders.recv(4096).decode("utf-8", "replace")
        if said == "ready":
            return f"node-ready {node.number} {_data_bytes(node.pid)}"
        self.end(node.number)
        return f"node-gone {node.number} {said or 'it ended while it started'}"

    def reaped(self, pid: int) -> str | None:
        """Forget the one with this process number, if there is one; returns what to tell the sandbox."""
        for number, node in self._by_number.items():
            if node.pid == pid:
                del self._by_number[number]
                self._booting.discard(node.orders)
                node.orders.close()
                return f"node-gone {number} it ended"
        return None

    def orders_to(self, number: int) -> socket.socket:
        """Where to order forks. Raises OSError if there is no such template."""
        if number not in self._by_number:
            raise ProcessLookupError(f"no Node.js template {number}")
        return self._by_number[number].orders


def _data_bytes(pid: int) -> int:
    """The bytes of a process that RLIMIT_DATA counts."""
    with open(f"/proc/{pid}/status") as file:
        for line in file:
            if line.startswith("VmData:"):
                return int(line.split()[1]) * 1024
    raise OSError(f"process {pid} has no memory")
