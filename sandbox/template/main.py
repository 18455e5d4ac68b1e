"""The template: started by host/template_process.py with an empty environment, so that no run can find in its memory
what the platform knows. It takes orders on descriptor 3."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
from typing import Any

from sandbox.confinement import kernel, root, workspaces
from sandbox.confinement.root import packages_of, workspace_of
from sandbox.confinement.run_plan import RunPlans
from sandbox.protocol.orders import KillOrder, Order, SpawnOrder, TemplateSettings, decode_order
from sandbox.protocol.table import ORDERS
from sandbox.supervisor.supervisor import Supervisor, child_wakeup, kill_children
from sandbox.template import python_template
from sandbox.template.node_templates import NodeTemplates
from sandbox.template.programs import Supervisors
from sandbox.template.run_process import RunFds, become_run


class Template:
    """The template process: obeys spawn orders one at a time, tells of supervisors that ended."""

    def __init__(self, control: socket.socket, settings: TemplateSettings, code: int | None = None) -> None:
        """`code` is the descriptor of what a template of an image loads."""
        self._control = control
        self._settings = settings
        self._code = code
        self._supervisors: dict[int, int] = {}  # pid → run
        self._native: Supervisors | None = None
        self._nodes = NodeTemplates()
        self._plans: RunPlans
        self._python: tuple[int, socket.socket] | None = None  # process and where to order forks of it
        self._runtime: Any = None  # of Python, where there is no such process
        self._own_pid_namespace = -1

    def serve(self) -> None:
        """Prepare, then work until the control socket closes."""
        kernel.set_name("zmesh-template")
        os.umask(0o022)  # the root is for the users of runs
        self._enter_namespaces()
        self._pid = os.getpid()
        self._plans = RunPlans(self._settings)
        kernel.set_dumpable(False)
        facts = self._start_runtimes()
        self._wakeup = child_wakeup()
        self._tell(f"ready {facts}")
        while self._obey_one():
            pass

    def _start_runtimes(self) -> str:
        if self._settings.native:
            self._native = Supervisors()
            self._python = python_template.start()
        else:
            self._runtime = python_template.load_runtime(packages_of(self._settings))
        return "" if self._settings.mode != "root" else why_no_user_namespace()

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
        self._enter_root(users)

    def _enter_root(self, users: dict[int, str]) -> None:
        settings = self._settings
        readable = [*settings.readable, settings.sdk]
        root.enter(f"{settings.run_dir}/root", readable, settings.hidden, settings.packages, users, settings.images)

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
        ready, _, _ = select.select([self._control, self._wakeup, *self._nodes.booting], [], [])
        if self._wakeup in ready:
            self._wakeup.recv(4096)
            self._reap()
        for booting in self._nodes.booting.intersection(ready):
            self._tell(self._nodes.hear(booting))
        if self._control in ready:
            message, fds = self._receive()
            if not message:
                self._end_all()
                return False
            self._obey(decode_order(message), fds)
        return True

    def _obey(self, order: Order, fds: list[int]) -> None:
        if isinstance(order, SpawnOrder):
            self._spawn(order, fds)
        elif isinstance(order, KillOrder):
            self._kill(order.run)
        elif order.argv:
            self._nodes.start(order.node_template, order.argv)
        else:
            self._nodes.end(order.node_template)

    def _tell(self, message: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # the sandbox is gone; the next look at the socket will show it
            self._control.send(message.encode())

    def _receive(self) -> tuple[bytes, list[int]]:
        try:
            message, fds, _, _ = socket.recv_fds(self._control, 65536, 4)
        except ConnectionResetError:
            return b"", []
        return message, fds

    def _spawn(self, order: SpawnOrder, fds: list[int]) -> None:
        try:
            pid = self._make(order, fds)
        except OSError as error:
            self._tell(f"failed {order.run} {error}")
        else:
            self._supervisors[pid] = order.run
            self._tell(f"spawned {order.run}")
        finally:
            for fd in fds:
                os.close(fd)

    def _make(self, order: SpawnOrder, fds: list[int]) -> int:
        channel, output, errors, supervision = fds
        runtime = self._runtime_to_fork(order)
        if self._native is None or runtime is None:
            return self._fork(order, fds)
        return self._native.make(self._plans.encoded(order), (channel, output, errors), supervision, runtime)

    def _fork(self, order: SpawnOrder, fds: list[int]) -> int:
        channel, output, errors, supervision = fds
        namespaces = self._settings.mode != "process"
        if namespaces:
            self._plans.plan(order)  # kept for the next: what a supervisor makes is gone with it
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
            run_fds = channel, output, errors
            Supervisor(
                order,
                self._settings,
                run_fds,
                socket.socket(fileno=supervision),
                lambda: self._make_run(order, run_fds),
            ).run()
        return pid

    def _make_run(self, order: SpawnOrder, fds: RunFds) -> int:
        """In the supervisor: make its child, with another number than the template has in a namespace of its own.

        Libraries such as OpenSSL notice a fork by it."""
        while (pid := os.fork()) == self._pid:
            os.waitpid(pid, 0)
        if pid == 0:
            if os.getpid() == self._pid:
                os._exit(0)
            runtime = None if order.argv else self._runtime
            become_run(order, self._plans.plan(order), fds, workspace_of(order.run, self._settings), runtime)
        return pid

    def _runtime_to_fork(self, order: SpawnOrder) -> socket.socket | None:
        if order.node_template:
            return self._nodes.orders_to(order.node_template)
        if self._python is not None and not order.argv:
            return self._python[1]
        return None

    # Ends

    def _reap(self) -> None:
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if self._python is not None and pid == self._python[0]:
                raise ChildProcessError("the process that runs are forked from ended")
            if self._native is not None and pid == self._native.pid:
                raise ChildProcessError("the program that makes supervisors ended")
            run = self._supervisors.pop(pid, None)
            if run is not None:
                self._clean_up(run)
            elif (message := self._nodes.reaped(pid)) is not None:
                self._tell(message)

    def _clean_up(self, run: int) -> None:
        if self._settings.mode == "process":
            kill_children(frozenset(self._supervisors))
            workspaces.remove(f"{self._settings.run_dir}/run-{run}")  # in case its supervisor was killed
        self._tell(f"reaped {run}")

    def _kill(self, run: int) -> None:
        for pid, its_run in self._supervisors.items():
            if its_run == run:
                number = signal.SIGTERM if self._settings.mode == "process" else signal.SIGKILL
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)

    def _end_all(self) -> None:
        self._nodes.end_all()
        for helper in (self._python[0] if self._python else 0, self._native.pid if self._native else 0):
            if helper:
                os.kill(helper, signal.SIGKILL)
        for run in list(self._supervisors.values()):
            self._kill(run)
        # Whatever child ends is reaped: a supervisor cannot end before one that its run's namespace has left to us.
        while self._supervisors:
            try:
                pid, _ = os.waitpid(-1, 0)
            except ChildProcessError:
                break
            self._supervisors.pop(pid, None)
        if self._settings.mode == "process":
            kill_children()


def main() -> None:
    """Run until the sandbox closes the control socket."""
    control = socket.socket(fileno=ORDERS)
    message, descriptors, _, _ = socket.recv_fds(control, 65536, 1)
    settings = TemplateSettings.decode(message)
    try:
        _kind_of(settings)(control, settings, *descriptors).serve()
    except OSError as error:  # what this machine does not allow
        _tell_of_end(control, kernel.explain(error))
        raise SystemExit(1) from None
    except Exception as error:
        _tell_of_end(control, f"{type(error).__name__}: {error}")
        raise


def why_no_user_namespace() -> str:
    """Why we, as root, cannot make one with all that runs need; "" where we can."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWNS | kernel.CLONE_NEWPID)
        except OSError as error:
            os.write(writer, kernel.explain(error).encode())
        os._exit(0)
    os.close(writer)
    why = os.read(reader, 4096).decode()
    os.close(reader)
    os.waitpid(pid, 0)
    return why


def _kind_of(settings: TemplateSettings) -> type[Template]:
    if settings.image is None:
        return Template
    from sandbox.template.image_template import ImageTemplate  # knows this module

    return ImageTemplate


def _tell_of_end(control: socket.socket, why: str) -> None:
    with contextlib.suppress(OSError):
        control.send(f"broken: {why}".encode())
