"""`zmesh` processes as forks of one that has imported their modules: that is most of the CPU time of a start.

`python -m tests.forks DESCRIPTOR MODULE…` is that process. Each fork has arguments, environment, folder and standard
streams of its own, and runs `cli.main.main` until Python itself ends it. What a test says about the start of Python,
a terminal, the command line or the environment that /proc shows needs a process that was started as usual.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

REPOSITORY = Path(__file__).parent.parent
LENGTH = struct.Struct("!Q")  # of a request
NEWS = struct.Struct("!ii")  # a process, and its exit code or STARTED
STARTED = 1000
TURN_SECONDS = 0.05  # after which another thread may look for news


class Forked:
    """A process; the methods are those of subprocess.Popen."""

    def __init__(self, forks: Forks, pid: int) -> None:
        self._forks = forks
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        return self._look(0)

    def wait(self, timeout: float | None = None) -> int:
        deadline = None if timeout is None else time.monotonic() + timeout
        while (code := self._look(TURN_SECONDS)) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("zmesh", timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it has just ended
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _look(self, seconds: float) -> int | None:
        if self.returncode is None:
            self.returncode = self._forks.exit_code(self.pid, seconds)
        return self.returncode


class Forks:
    """Starts processes with these modules imported."""

    def __init__(self, environment: Mapping[str, str], *modules: str) -> None:
        """`environment` is that of the imports."""
        self._environment = environment
        self._modules = modules
        self._lock = threading.Lock()
        self._connection: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._ended: dict[int, int] = {}

    def start(
        self, arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str], streams: Sequence[IO[bytes]]
    ) -> Forked:
        """`zmesh` with these arguments and these as stdin, stdout and stderr."""
        request = json.dumps({"arguments": arguments, "cwd": str(cwd), "env": dict(env)}).encode()
        descriptors = [stream.fileno() for stream in streams]
        with self._lock:
            if self._connection is None:
                self._connection = self._open()
            try:
                socket.send_fds(self._connection, [LENGTH.pack(len(request))], descriptors)
                self._connection.sendall(request)
                while (news := self._news(self._connection))[1] != STARTED:
                    self._ended[news[0]] = news[1]
            except BaseException:
                self._connection = None  # nobody knows what comes over it next
                raise
            return Forked(self, news[0])

    def run(
        self, arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str], stdin: str = "", seconds: float = 90
    ) -> subprocess.CompletedProcess[str]:
        """As subprocess.run with captured output."""
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            given.write(stdin.encode())
            given.seek(0)
            process = self.start(arguments, cwd=cwd, env=env, streams=(given, out, err))
            try:
                code = process.wait(seconds)
            finally:
                process.kill()
            return subprocess.CompletedProcess(["zmesh", *arguments], code, _text(out), _text(err))

    def exit_code(self, pid: int, seconds: float) -> int | None:
        """That of a process that ends within this time."""
        with self._lock:
            assert self._connection is not None
            if pid not in self._ended and select.select([self._connection], [], [], seconds)[0]:
                ended, code = self._news(self._connection)
                self._ended[ended] = code
            return self._ended.pop(pid, None)

    def _news(self, connection: socket.socket) -> tuple[int, int]:
        pid, code = NEWS.unpack(_exactly(connection, NEWS.size))
        return pid, code

    def _open(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # ends when our end of the connection is closed
                [sys.executable, "-m", "tests.forks", str(theirs.fileno()), *self._modules],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                cwd=REPOSITORY,
                env=self._environment,
                pass_fds=[theirs.fileno()],
            )
        return ours


def _text(output: IO[bytes]) -> str:
    output.seek(0)
    return output.read().decode()


def _exactly(connection: socket.socket, count: int) -> bytes:
    received = b""
    while len(received) < count:
        part = connection.recv(count - len(received))
        if not part:
            raise EOFError("the other side has ended")
        received += part
    return received


def serve(connection: socket.socket) -> list[str]:
    """Fork for each request; returns its arguments in the fork, and never in the process itself."""
    woken, wake = socket.socketpair()
    for end in (woken, wake):
        end.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake.fileno())
    while True:
        ready, _, _ = select.select([connection, woken], [], [])
        if woken in ready:
            woken.recv(4096)
            _tell_of_the_dead(connection)
        if connection in ready:
            head, streams, _, _ = socket.recv_fds(connection, LENGTH.size, 3)
            if not head:
                os._exit(0)  # the tests have ended
            [length] = LENGTH.unpack(head + _exactly(connection, LENGTH.size - len(head)))
            request = json.loads(_exactly(connection, length))
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for end in (connection, woken, wake):
                    end.close()
                return _become(request["arguments"], request["env"], request["cwd"], streams)
            for stream in streams:
                os.close(stream)
            connection.sendall(NEWS.pack(pid, STARTED))


def _tell_of_the_dead(connection: socket.socket) -> None:
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            connection.sendall(NEWS.pack(ended[0], os.waitstatus_to_exitcode(ended[1])))


def _become(arguments: list[str], environment: dict[str, str], folder: str, streams: list[int]) -> list[str]:
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = ["zmesh", *arguments]
    return arguments


def _import_commands() -> None:
    """Those that the command imports when it is told which to run."""
    from cli.root import zmesh

    for command in zmesh.commands.values():
        for _ in getattr(command, "commands", {}).values():
            pass


def main(descriptor: str, *modules: str) -> int:
    """Run what is asked for; returns the exit status of a command, in its own process."""
    for name in modules:
        __import__(name)
    if "cli.main" in modules:
        _import_commands()
    gc.freeze()  # what was imported is not looked at again in each fork
    arguments = serve(socket.socket(fileno=int(descriptor)))
    from cli.main import main as run

    return run(arguments)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
