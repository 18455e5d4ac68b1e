"""The process beside each run: makes it, watches what it uses, ends all it started, tells how it ended.

With namespaces it is process 1 of the run's own: when it exits, the kernel ends everything the run has left. Runs that
are forked from a booted runtime have a quicker one, supervisor/supervisor.c.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import select
import signal
import socket
import struct
import time
import traceback
from collections.abc import Callable
from typing import NoReturn

from sandbox.confinement import kernel, root, workspaces
from sandbox.confinement.plan import Plan
from sandbox.confinement.root import workspace_of
from sandbox.protocol.orders import CONCLUDE, END, SpawnOrder, TemplateSettings, WatchOrder, decode_watch
from sandbox.supervisor import usage
from sandbox.template.run_process import RunFds

WATCH_SECONDS = 0.05
KILL_AGAIN_SECONDS = 0.002
LOCKS_EVERY_SECONDS = 0.25  # of CPU time, in which a run makes some ten thousand locks at most
_COUNT = struct.Struct("=Q")


class Supervisor:
    """Lives in the forked process only; `run()` never returns."""

    def __init__(
        self,
        order: SpawnOrder,
        settings: TemplateSettings,
        run_fds: RunFds,
        supervision: socket.socket,
        make: Callable[[], int],
    ) -> None:
        """`make` makes the run, a child of this process, and returns its number."""
        self._order = order
        self._settings = settings
        self._run_fds = run_fds
        self._supervision = supervision
        self._make = make
        self._child = 0
        self._limits: WatchOrder | None = None
        self._limit_hit: str | None = None
        self._folder: str | None = None  # the workspace, where no namespace takes it away
        self._baseline = 0
        self._peak = 0
        self._cpu_of_dead = 0.0
        self._cpu_seen = 0.0
        self._cpu_at_locks = 0.0
        self._counter: int | None = None  # of CPU time, this process's own included

    def run(self) -> NoReturn:
        """Make the run and stay until it has ended."""
        try:
            self._prepare_process()
            self._prepare_workspace()
            with contextlib.suppress(OSError):
                self._counter = kernel.count_cpu_time()
            self._own_cpu = time.process_time()
            self._child = self._make()
            for fd in self._run_fds:
                os.close(fd)
            self._supervise()
        except OSError as error:
            with contextlib.suppress(OSError):
                self._supervision.send(json.dumps({"failed": kernel.explain(error)}).encode())
        except BaseException as error:
            with contextlib.suppress(OSError):
                detail = "".join(traceback.format_exception(error))
                self._supervision.send(json.dumps({"failed": detail[-4000:]}).encode())
        os._exit(0)

    @property
    def _has_namespace(self) -> bool:
        return self._settings.mode != "process"

    def _prepare_process(self) -> None:
        kernel.set_name("zmesh-run")
        kernel.set_dumpable(False)
        self._wakeup = child_wakeup()
        if self._has_namespace:
            kernel.die_with_parent(signal.SIGKILL)
        else:
            kernel.adopt_orphans()
            kernel.die_with_parent(signal.SIGTERM)
            signal.signal(signal.SIGTERM, lambda number, frame: self._end(report=False))

    def _prepare_workspace(self) -> None:
        order = self._order
        if self._has_namespace:
            kernel.unshare(kernel.CLONE_NEWNS | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS)
            plan = Plan()
            image = order.image if self._settings.images else None
            root.add_own(plan, order.limits.workspace_mb, order.limits.workspace_files, image)
            plan.carry_out()
            return
        self._folder = workspace_of(order.run, self._settings)
        base = self._settings.base_uid
        workspaces.make(self._folder, None if base is None else base + order.slot)

    # Watching

    def _supervise(self) -> NoReturn:
        while True:
            watching = self._limits is not None
            ready, _, _ = select.select([self._supervision, self._wakeup], [], [], WATCH_SECONDS if watching else None)
            if self._wakeup in ready:
                self._wakeup.recv(4096)
                self._reap()
            if self._supervision in ready:
                self._obey(self._supervision.recv(4096))
            if watching:
                self._watch()

    def _obey(self, message: bytes) -> None:
        if not message or message in (CONCLUDE, END):
            self._end(report=bool(message))
        self._limits = decode_watch(message)
        self._baseline = usage.measure([self._child]).memory_bytes

    def _processes(self) -> list[int]:
        if self._has_namespace:
            return [int(name) for name in os.listdir("/proc") if name.isdigit() and name != "1"]
        return usage.descendants_of(os.getpid())

    def _watch(self) -> None:
        assert self._limits is not None
        pids = self._processes()
        used = usage.measure(pids)
        allowed = self._limits.memory_bytes + self._baseline
        memory = used.memory_bytes
        if len(pids) > 1 and memory > min(self._peak, allowed):
            memory = usage.exact_memory(pids)
        self._peak = max(self._peak, memory)
        if memory > allowed:
            self._limit_hit = "memory_limit"
        self._cpu_seen = max(used.cpu_seconds + self._cpu_of_dead, self._counted())
        if self._limit_hit is None and self._cpu_seen > self._limits.cpu_seconds:
            self._limit_hit = "cpu_limit"
        if self._limit_hit is None and self._holds_too_many_locks(pids, self._limits.locks):
            self._limit_hit = "file_lock_limit"
        if self._limit_hit:
            self._end(report=True)

    def _holds_too_many_locks(self, pids: list[int], most: int) -> bool:
        if self._cpu_seen < self._cpu_at_locks + LOCKS_EVERY_SECONDS:
            return False
        self._cpu_at_locks = self._cpu_seen
        return usage.count_locks(pids, most + 1) > most

    def _counted(self) -> float:
        """CPU seconds of the run, including children that nobody waited for; 0 if the kernel does not count them."""
        if self._counter is None:
            return 0.0
        (nanoseconds,) = _COUNT.unpack(os.read(self._counter, _COUNT.size))
        own = time.process_time() - self._own_cpu
        return float(nanoseconds) / 1e9 - own

    def _reap(self) -> None:
        while True:
            try:
                pid, status, used = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._child:
                self._finish(status, used)
            self._cpu_of_dead += used.ru_utime + used.ru_stime

    # Ending

    def _end(self, *, report: bool) -> NoReturn:
        """Kill the run; with `report`, tell how it ended."""
        self._ignore_ends()
        if self._child == 0:  # not made yet; to signal 0 would be to signal our own group
            self._leave()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._child, signal.SIGKILL)
        _, status, used = os.wait4(self._child, 0)
        if report:
            self._finish(status, used)
        self._end_descendants()
        self._leave()

    def _finish(self, status: int, used: resource.struct_rusage) -> NoReturn:
        self._ignore_ends()
        self._end_descendants()
        cpu = max(used.ru_utime + used.ru_stime + self._cpu_of_dead, self._cpu_seen, self._counted())
        message = {
            "exit": os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
            "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
            "cpu_seconds": round(cpu, 6),
            "peak_bytes": max(self._peak, used.ru_maxrss * 1024),
            "limit": self._limit_hit,
        }
        with contextlib.suppress(OSError):
            self._supervision.send(json.dumps(message).encode())
        self._leave()

    @staticmethod
    def _ignore_ends() -> None:
        """An end that was begun goes on, whoever else ends meanwhile."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def _end_descendants(self) -> None:
        if not self._has_namespace:
            kill_children()

    def _leave(self) -> NoReturn:
        if self._folder is not None:
            self._supervision.close()  # the caller waits no longer than for the processes
            workspaces.remove(self._folder)
        os._exit(0)


def kill_children(spare: frozenset[int] = frozenset()) -> None:
    """End all descendants but the children to spare and theirs.

    None is reaped before none lives: the dead still count against the limit of processes, so a fork bomb runs dry.
    """
    while True:
        living = [pid for pid in _descendants(spare) if usage.is_alive(pid)]
        dead = [] if living else [pid for pid in usage.children_of(os.getpid()) if pid not in spare]
        if not living and not dead:
            return
        for pid in living:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for pid in dead:  # or adopted this moment, and alive
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        time.sleep(KILL_AGAIN_SECONDS if living else 0)


def _descendants(spare: frozenset[int]) -> list[int]:
    children = [pid for pid in usage.children_of(os.getpid()) if pid not in spare]
    return children + [pid for child in children for pid in usage.descendants_of(child)]


def child_wakeup() -> socket.socket:
    """A socket that has something to read after a child ended."""
    reader, writer = socket.socketpair()
    reader.setblocking(False)
    writer.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    # Kept open for the life of the process: the signal machinery knows only its number.
    writer.detach()
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    return reader
