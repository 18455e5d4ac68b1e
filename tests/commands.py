"""`zmesh` commands as forks of one process that has imported the command line: a start of Python less for each.

`python -m tests.commands DESCRIPTOR` is that process. Each command is a process with arguments, environment, folder
and standard streams of its own, and runs `cli.main.main` until Python itself ends it.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

REPOSITORY = Path(__file__).parent.parent
LENGTH = 8  # bytes that tell how long a request is
LOADED = ("cli.main", "rich.console", "rich.syntax", "rich.table")


class Commands:
    """The process, started for the first command, and again after one that did not end in time."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """`environment` is that of the imports; each command has its own."""
        self._environment = environment
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None

    def run(
        self, arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str], stdin: str = "", seconds: float = 90
    ) -> subprocess.CompletedProcess[str]:
        """As subprocess.run of `zmesh` with these arguments, with its output captured."""
        request = json.dumps({"arguments": arguments, "cwd": str(cwd), "env": dict(env)}).encode()
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            given.write(stdin.encode())
            given.seek(0)
            streams = [file.fileno() for file in (given, out, err)]
            with self._lock:
                try:
                    status = self._ask(request, streams, seconds)
                except BaseException:
                    self.close()
                    raise
            return subprocess.CompletedProcess(["zmesh", *arguments], status, _text(out), _text(err))

    def close(self) -> None:
        """End the process, and the command that may still run."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _ask(self, request: bytes, streams: list[int], seconds: float) -> int:
        connection = self._connection or self._start()
        connection.settimeout(seconds)
        socket.send_fds(connection, [len(request).to_bytes(LENGTH, "big")], streams)
        connection.sendall(request)
        return int.from_bytes(_exactly(connection, 4), "big", signed=True)

    def _start(self) -> socket.socket:
        self._connection, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.commands", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                cwd=REPOSITORY,
                env=self._environment,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        return self._connection


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


def next_command(connection: socket.socket) -> list[str]:
    """Fork for each request; returns its arguments in the fork, and never in the process itself."""
    while True:
        head, streams, _, _ = socket.recv_fds(connection, LENGTH, 3)
        if not head:
            os._exit(0)  # the tests have ended
        head += _exactly(connection, LENGTH - len(head))
        request = json.loads(_exactly(connection, int.from_bytes(head, "big")))
        child = os.fork()
        if child == 0:
            connection.close()
            return _become(request["arguments"], request["env"], request["cwd"], streams)
        for stream in streams:
            os.close(stream)
        _, ended = os.waitpid(child, 0)
        connection.sendall(os.waitstatus_to_exitcode(ended).to_bytes(4, "big", signed=True))


def _become(arguments: list[str], environment: dict[str, str], folder: str, streams: list[int]) -> list[str]:
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = ["zmesh", *arguments]
    return arguments


def serve(descriptor: int) -> int:
    """Run what is asked for; returns the exit status of a command, in its own process."""
    for name in LOADED:
        __import__(name)
    gc.freeze()  # the objects of the imports are not looked at again in each fork
    arguments = next_command(socket.socket(fileno=descriptor))
    from cli.main import main

    return main(arguments)


if __name__ == "__main__":
    sys.exit(serve(int(sys.argv[1])))
