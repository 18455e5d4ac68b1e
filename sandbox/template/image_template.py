"""The template of one image: runs are forked from a runtime that has imported its packages, which are hostile code, and
perhaps executed that of one version of a function.

So it has a user namespace of its own, in which the process that imports is confined as a run is; what makes and watches
runs there is the same as elsewhere, and is not forked from that process.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from sandbox.confinement import kernel, root
from sandbox.confinement.plan import Plan
from sandbox.confinement.root import IMAGE, WORKSPACE
from sandbox.protocol.orders import ImageSettings, SpawnOrder
from sandbox.supervisor.usage import children_of, measure
from sandbox.template import python_template
from sandbox.template.main import Template
from sandbox.template.programs import Supervisors, start_program
from sandbox.template.python_template import Preload
from sandbox.template.run_process import environment
from sandbox.template.state import State, data_bytes, fault_of_import, memory_of, own_memory, processes

LOOK_SECONDS = 0.02
BOOT_SECONDS = 20.0  # of the runtime itself, before it imports
MIB = 1024 * 1024
SLACK_BYTES = 64 * MIB  # resident memory counts pages that are shared, too
WATCH_SECONDS = 2.0
LONGEST_REASON = 500  # of what packages raised
IDLE_CPU_SECONDS, FORK_CPU_SECONDS = 1.0, 0.1  # between two looks; a fork takes some milliseconds on an idle machine
WORKSPACE_MB, WORKSPACE_FILES = 64, 4096


class Refused(Exception):
    """Runs cannot be forked from a process that has imported these packages; the message says why."""


@dataclass(frozen=True, slots=True)
class _Runtime:
    """The process that imports, and then is forked."""

    pid: int
    orders: socket.socket


class ImageTemplate(Template):
    """Obeys spawn orders as the template without an image does."""

    _importer: _Runtime
    _threads = 1
    # What the last look has seen, and the forks since.
    _next_look, _spent, _forks = 0.0, 0.0, 0
    _children: frozenset[int] = frozenset()

    @property
    def _image(self) -> ImageSettings:
        assert self._settings.image is not None
        return self._settings.image

    def serve(self) -> None:
        """Prepare, then work until the control socket closes, unless the packages do not allow it."""
        try:
            super().serve()
        except Refused as refused:
            whose = "packages or top-level code" if self._image.loads else "packages"
            self._tell(f"refused: {whose}: {refused}")
        os._exit(0)  # process 1: the kernel ends the others

    # Namespaces

    def _enter_namespaces(self) -> None:
        if self._image.uid is None:
            super()._enter_namespaces()
        else:
            kernel.unshare(kernel.CLONE_NEWNS)
            self._enter_root({1000: "function"})
            self._become_user_of_namespace(self._image.uid)
        plan = Plan()
        root.add_own(plan, WORKSPACE_MB, WORKSPACE_FILES, self._image.path if self._settings.images else None)
        plan.carry_out()

    def _become_user_of_namespace(self, uid: int) -> None:
        """As root: a child goes on as process 1 of a user namespace in which root is that user; this process waits."""
        unshared, mapped = os.pipe(), os.pipe()
        pid = os.fork()
        if pid == 0:
            kernel.die_with_parent(signal.SIGKILL)
            os.close(mapped[1])
            os.setgroups([])
            kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWNS | kernel.CLONE_NEWPID)
            os.write(unshared[1], b"1")
            if not os.read(mapped[0], 1):
                os._exit(0)
            for end in (*unshared, mapped[0]):
                os.close(end)
            os.setresgid(0, 0, 0)
            os.setresuid(0, 0, 0)
            kernel.die_with_parent(signal.SIGKILL)  # the change of user took it away
            self._continue_in_child()
            return
        os.close(unshared[1])
        self._control.close()
        if os.read(unshared[0], 1):
            Path(f"/proc/{pid}/uid_map").write_text(f"0 {uid} 1")
            Path(f"/proc/{pid}/gid_map").write_text(f"0 {uid} 1")
            os.write(mapped[1], b"1")
        os.waitpid(pid, 0)
        os._exit(0)

    # The import

    def _start_runtimes(self) -> str:
        """Returns what the sandbox is told: how much memory all of it takes, and what RLIMIT_DATA counts of it."""
        self._native = Supervisors()
        confinement = self._plans.plan_of_template(network=self._image.network)
        if self._image.node:
            pid, orders = start_program(self._image.node, environment(WORKSPACE), confinement, self._code)
        else:
            preload = Preload(IMAGE if self._image.path else None, self._image.preload, self._code)
            pid, orders = python_template.fork(confinement, preload)
        self._importer = _Runtime(pid, orders)
        try:
            return self._import()
        finally:
            self._python = pid, orders  # whatever ends, and whatever is forked

    def _import(self) -> str:
        runtime = self._importer
        self._await("loaded", time.monotonic() + BOOT_SECONDS, None)
        before = State.of(runtime.pid)
        runtime.orders.send(b"go")
        self._await("imported", time.monotonic() + self._image.seconds, self._image.memory_bytes)
        fault = fault_of_import(before, State.of(runtime.pid), WORKSPACE, may_keep_files=not self._image.loads)
        others = processes() - {1, runtime.pid, self._native.pid if self._native else 0}
        if others:
            fault = "they started processes"
        memory = memory_of(runtime.pid)
        if memory > self._image.memory_bytes:
            fault = self._too_large(memory)
        if fault:
            raise Refused(fault)
        self._threads = before.threads
        runtime.orders.send(b"go")
        self._await("ready", time.monotonic() + BOOT_SECONDS, None)
        self._spent = cpu_seconds(runtime.pid)
        return f"{memory + own_memory()} {data_bytes(runtime.pid)}"

    def _too_large(self, memory: int) -> str:
        return f"they take {memory // MIB} MB; at most {self._image.memory_bytes // MIB} are allowed"

    def _await(self, word: str, deadline: float, memory_bytes: int | None) -> None:
        """Wait until it says so, and watch it. Raises Refused."""
        orders, pid = self._importer.orders, self._importer.pid
        while not select.select([orders], [], [], LOOK_SECONDS)[0]:
            if time.monotonic() > deadline:
                raise Refused("they took too long" if memory_bytes else "the runtime did not boot in time")
            used = sum(map(memory_resident, processes() - {1})) if memory_bytes else 0
            if memory_bytes and used > memory_bytes + SLACK_BYTES:
                raise Refused(self._too_large(used))
        said = orders.recv(4096).decode("utf-8", "replace")
        if said != word:
            raise Refused(_in_words(said, pid))

    # Runs

    def _obey_one(self) -> bool:
        ready, _, _ = select.select([self._control, self._wakeup], [], [], WATCH_SECONDS)
        if time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + WATCH_SECONDS
            self._look()
        return super()._obey_one() if ready else True

    def _make(self, order: SpawnOrder, fds: list[int]) -> int:
        self._forks += 1
        return super()._make(order, fds)

    def _look(self) -> None:
        """Whether the process only forks: no code of its packages should run in it any more. Raises Refused."""
        pid = self._importer.pid
        used, forks = cpu_seconds(pid), self._forks
        spent, self._spent = used - self._spent, used
        ours = {pid, *self._supervisors, *([self._native.pid] if self._native else [])}
        orphans = set(children_of(os.getpid())) - ours
        if State.of(pid).threads != self._threads:
            raise Refused("they started threads later on")
        children = frozenset(children_of(pid))  # what forks a run is one for some milliseconds
        if orphans or children & self._children:
            raise Refused("they started processes later on")
        if memory_resident(pid) > self._image.memory_bytes + SLACK_BYTES:
            raise Refused("they took more memory later on")
        if spent > IDLE_CPU_SECONDS + forks * FORK_CPU_SECONDS:
            raise Refused("they used CPU time later on")
        self._forks, self._children = 0, children

    def _fork(self, order: SpawnOrder, fds: list[int]) -> int:
        raise OSError("a template of an image has one runtime alone")


def cpu_seconds(pid: int) -> float:
    """What a process has spent so far."""
    return measure([pid]).cpu_seconds


def memory_resident(pid: int) -> int:
    """Bytes of a process that are in memory, shared ones included."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def _in_words(said: str, pid: int) -> str:
    if said:
        line = " ".join(said.removeprefix("failed: ").split())
        return "".join(filter(str.isprintable, line))[:LONGEST_REASON]
    with contextlib.suppress(OSError):
        _, status = os.waitpid(pid, 0)
        if os.WIFEXITED(status):
            return f"they ended the process (exit code {os.WEXITSTATUS(status)})"
        return f"the process was ended by {signal.Signals(os.WTERMSIG(status)).name}"
    return "the process ended"
