"""The fork server: `python -I -m sandbox.template`, exec'd with an empty environment, so that no run can find in its
memory what the platform knows. Descriptor 3 is the control socket."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import resource
import select
import signal
import socket
import struct
import sys
from typing import Any, NoReturn

from sandbox import kernel, root, workspaces
from sandbox.confinement import CHANNEL, lower
from sandbox.orders import SpawnOrder, TemplateSettings
from sandbox.supervisor import Supervisor, child_wakeup, kill_children

CONTROL = 3
_PARAMETERS = struct.Struct("!QQ")  # what a run of Python reads first: address space beside its own, CPU seconds


class Template:
    """The template process: obeys spawn orders one at a time, tells of supervisors that ended."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._settings = TemplateSettings.decode(control.recv(65536))
        self._supervisors: dict[int, int] = {}  # pid → run
        self._runtime: Any = None
        self._own_pid_namespace = -1

    def serve(self) -> None:
        """Prepare, then work until the control socket closes."""
        kernel.set_name("zmesh-template")
        self._enter_namespaces()
        sys.path.insert(0, f"{self._settings.sdk}/python")
        self._runtime = importlib.import_module("zmesh_runtime")
        self._runtime.prepare()
        kernel.set_dumpable(False)
        gc.collect()
        gc.freeze()  # so that a collection in a run does not copy every page of the template
        self._wakeup = child_wakeup()
        self._control.send(b"ready")
        while self._obey_one():
            pass

    def _enter_namespaces(self) -> None:
        settings = self._settings
        if settings.mode == "process":
            kernel.adopt_orphans()
            return
        if settings.mode == "user_namespace":
            uid, gid = os.getuid(), os.getgid()
            # The pid namespace too, since only one of our own can be returned to after each fork.
            kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWNS | kernel.CLONE_NEWPID)
            kernel.map_current_user(0, uid, gid)
            self._continue_in_child()
            users = {1000: "function"}
        else:
            kernel.unshare(kernel.CLONE_NEWNS)
            base = settings.base_uid or 0
            users = {base + slot: f"function{slot}" for slot in range(settings.slots)}
        self._own_pid_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        root.enter(f"{settings.run_dir}/root", [*settings.readable, settings.sdk], settings.hidden, users)

    def _continue_in_child(self) -> None:
        """Only a child is in the new pid namespace: it goes on as the template, this process waits for its end."""
        pid = os.fork()
        if pid == 0:
            kernel.die_with_parent(signal.SIGKILL)
            return
        self._control.close()
        os.waitpid(pid, 0)
        os._exit(0)

    def _obey_one(self) -> bool:
        ready, _, _ = select.select([self._control, self._wakeup], [], [])
        if self._wakeup in ready:
            self._wakeup.recv(4096)
            self._reap()
        if self._control in ready:
            message, fds = self._receive()
            if not message:
                self._end_all()
                return False
            if message.startswith(b"kill "):
                self._kill(int(message[5:]))
            else:
                self._spawn(SpawnOrder.decode(message), fds)
        return True

    def _receive(self) -> tuple[bytes, list[int]]:
        try:
            message, fds, _, _ = socket.recv_fds(self._control, 65536, 4)
        except ConnectionResetError:
            return b"", []
        return message, fds

    def _spawn(self, order: SpawnOrder, fds: list[int]) -> None:
        try:
            pid = self._fork(order, fds)
        except OSError as error:
            self._control.send(f"failed {order.run} {error}".encode())
        else:
            self._supervisors[pid] = order.run
            self._control.send(f"spawned {order.run}".encode())
        finally:
            for fd in fds:
                os.close(fd)

    def _fork(self, order: SpawnOrder, fds: list[int]) -> int:
        channel, output, errors, supervision = fds
        namespaces = self._settings.mode != "process"
        if namespaces:
            kernel.unshare(kernel.CLONE_NEWPID)  # for the next child, not for this process
        pid = -1
        try:
            pid = os.fork()
        finally:
            if namespaces and pid != 0:
                kernel.setns(self._own_pid_namespace, kernel.CLONE_NEWPID)
        if pid == 0:
            self._control.close()
            self._wakeup.close()
            if namespaces:
                os.close(self._own_pid_namespace)
            Supervisor(
                order, self._settings, channel, output, errors, socket.socket(fileno=supervision), self._become
            ).run()
        return pid

    def _become(self, order: SpawnOrder) -> NoReturn:
        if order.argv:
            os.execve(order.argv[0], order.argv, os.environ)
        memory, cpu_seconds = _PARAMETERS.unpack(_read_exactly(CHANNEL, _PARAMETERS.size))
        lower(resource.RLIMIT_AS, _address_space() + memory)
        lower(resource.RLIMIT_CPU, cpu_seconds, extra=1)
        for name in [name for name in sys.modules if name.partition(".")[0] == "sandbox"]:
            del sys.modules[name]
        self._runtime.serve(CHANNEL)
        os._exit(0)

    # Ends

    def _reap(self) -> None:
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            run = self._supervisors.pop(pid, None)
            if run is not None:
                self._clean_up(run)

    def _clean_up(self, run: int) -> None:
        if self._settings.mode == "process":
            kill_children(frozenset(self._supervisors))
            workspaces.remove(f"{self._settings.run_dir}/run-{run}")  # in case its supervisor was killed
        self._control.send(f"reaped {run}".encode())

    def _kill(self, run: int) -> None:
        for pid, its_run in self._supervisors.items():
            if its_run == run:
                number = signal.SIGTERM if self._settings.mode == "process" else signal.SIGKILL
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)

    def _end_all(self) -> None:
        for run in list(self._supervisors.values()):
            self._kill(run)
        for pid in self._supervisors:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
        if self._settings.mode == "process":
            kill_children()


def _address_space() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def _read_exactly(fd: int, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = os.read(fd, count - len(data))
        if not part:
            os._exit(0)  # the sandbox closed: this run was never needed
        data += part
    return data


def main() -> None:
    """Run until the sandbox closes the control socket."""
    control = socket.socket(fileno=CONTROL)
    try:
        Template(control).serve()
    except Exception as error:
        with contextlib.suppress(OSError):
            control.send(f"broken {type(error).__name__}: {error}".encode())
        raise


if __name__ == "__main__":
    main()
