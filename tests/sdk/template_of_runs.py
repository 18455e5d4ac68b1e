"""Runs of Python, forked from a process that has loaded the runtime, as in the sandbox: that takes 0.3 s of CPU."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

SDK = Path(__file__).resolve().parents[2] / "sdk"
ORDERS, CHANNEL = 3, 3
LARGEST_ORDER = 65536


class TemplateOfRuns:
    """The tests' side of such a process."""

    def __init__(self) -> None:
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", __file__],
                stdin=subprocess.DEVNULL,
                preexec_fn=lambda: os.dup2(theirs.fileno(), ORDERS),
                pass_fds=(ORDERS,),
                env={"PATH": os.environ["PATH"]},
            )

    @property
    def alive(self) -> bool:
        """Whether it can be asked for runs; a test whose time is up ends it."""
        return self._process.poll() is None

    def fork(self, channel: socket.socket, env: Mapping[str, str], cwd: Path | None) -> ForkedRun:
        """A run that is served on the channel."""
        status, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        stdout, written_out = os.pipe()
        stderr, written_err = os.pipe()
        order = json.dumps({"env": dict(env), "cwd": str(cwd or os.getcwd())}).encode()
        socket.send_fds(self._orders, [order], [channel.fileno(), written_out, written_err, theirs.fileno()])
        theirs.close()
        os.close(written_out)
        os.close(written_err)
        return ForkedRun(status, stdout, stderr)


class ForkedRun:
    """What tests do with a subprocess."""

    returncode: int | None = None

    def __init__(self, status: socket.socket, stdout: int, stderr: int) -> None:
        self._status = status
        self._pipes = [open(descriptor, "rb") for descriptor in (stdout, stderr)]  # noqa: SIM115 - until it has ended
        self._pid = int(status.recv(64))

    def kill(self) -> None:
        """End it, if it has not ended."""
        if self.returncode is None:
            os.kill(self._pid, signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[bytes, bytes]:
        """All that it wrote and nobody has read yet, once it has ended."""
        if self.returncode is not None:
            return b"", b""
        stdout, stderr = [pipe.read() for pipe in self._pipes]
        self._status.settimeout(timeout)
        self.returncode = int(self._status.recv(64))
        for closed in (*self._pipes, self._status):
            closed.close()
        return stdout, stderr


class _Server:
    """The process that is forked."""

    def __init__(self) -> None:
        self._orders = socket.socket(fileno=ORDERS)
        self._status_of: dict[int, socket.socket] = {}
        self._child_ended, wakeup = socket.socketpair()
        wakeup.setblocking(False)
        self._wakeup = wakeup
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wakeup.fileno())

    def serve(self) -> None:
        """Fork until nobody can order any more."""
        while True:
            ready, _, _ = select.select([self._orders, self._child_ended], [], [])
            if self._child_ended in ready:
                self._child_ended.recv(4096)
                self._reap()
            if self._orders in ready:
                order, descriptors, _, _ = socket.recv_fds(self._orders, LARGEST_ORDER, 4)
                if not order:
                    return
                self._fork(json.loads(order), descriptors)

    def _fork(self, order: dict[str, Any], descriptors: list[int]) -> None:
        *of_run, status = descriptors
        pid = os.fork()
        if pid == 0:
            _become_run(order, *of_run)
        self._status_of[pid] = socket.socket(fileno=status)
        self._status_of[pid].send(str(pid).encode())
        for descriptor in of_run:
            os.close(descriptor)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG)) != (0, 0):
                with self._status_of.pop(ended[0]) as status, contextlib.suppress(OSError):
                    status.send(str(os.waitstatus_to_exitcode(ended[1])).encode())


def _become_run(order: dict[str, Any], channel: int, stdout: int, stderr: int) -> NoReturn:
    try:
        copies = [os.dup(descriptor) for descriptor in (stdout, stderr, channel)]
        for number, copy in enumerate(copies, start=1):
            os.dup2(copy, number, inheritable=True)
        os.closerange(CHANNEL + 1, max(copies) + 1)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.chdir(order["cwd"])
        os.environ.update(order["env"])
        time.tzset()
        zmesh_runtime.serve(CHANNEL)
    finally:
        os._exit(99)


if __name__ == "__main__":
    sys.path.insert(0, str(SDK / "python"))
    import zmesh_runtime

    zmesh_runtime.prepare()
    _Server().serve()
