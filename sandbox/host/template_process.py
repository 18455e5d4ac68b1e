"""The host's side of the fork server: starts it, orders children from it, learns when they end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from sandbox.host.child import Child
from sandbox.model import SandboxError
from sandbox.protocol.orders import KillOrder, NodeTemplateOrder, SpawnOrder, TemplateSettings, encode_order

log = logging.getLogger(__name__)
START_SECONDS = 30.0
_PACKAGES = str(Path(__file__).resolve().parents[2])
ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "MALLOC_ARENA_MAX": "2"}


class TemplateProcess:
    """One fork server process."""

    def __init__(
        self,
        settings: TemplateSettings,
        on_reaped: Callable[[int], None],
        on_node_ready: Callable[[int, int], None],
        on_node_gone: Callable[[int, str], None],
    ) -> None:
        """`on_reaped(run)` is called when nothing of a run is left, `on_node_ready(number, data bytes)` and
        `on_node_gone(number, why)` when a Node.js template becomes ready, and when it ends."""
        self._settings = settings
        self._on_reaped = on_reaped
        self._on_node_ready = on_node_ready
        self._on_node_gone = on_node_gone
        self._loop = asyncio.get_running_loop()
        self._one_order = asyncio.Lock()
        self._answer: asyncio.Future[str] | None = None
        self.gone = asyncio.Event()
        self._started = False
        self._last_words = ""
        self.facts = ""  # what it said when it was ready
        self.runs: set[int] = set()  # that were ordered and of which something may be left
        self.emptied = asyncio.Event()  # when nothing is left of any

    async def start(self, seconds: float = START_SECONDS, code: bytes | None = None) -> None:
        """Start it, pass on what it is to execute, and wait until it is ready. Raises SandboxError."""
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(  # noqa: ASYNC220 - a moment, once
                [sys.executable, "-I", "-S", "-c", _START, str(theirs.fileno()), _PACKAGES],
                stdin=subprocess.DEVNULL,
                env=ENVIRONMENT,
                cwd="/",
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C in a terminal is for the platform, which lets runs finish
            )
        self._control.setblocking(False)
        self._loop.add_reader(self._control, self._read)
        self._send_settings(code)
        self._answer = self._loop.create_future()
        try:
            async with asyncio.timeout(seconds):
                answer = await self._answer
        except TimeoutError:
            answer = "broken: it did not answer"
        except asyncio.CancelledError:
            await asyncio.shield(self.close())
            raise
        word, _, self.facts = answer.partition(" ")
        if word != "ready":
            await self.close()
            if word == "refused:":
                raise SandboxError(self.facts)
            raise SandboxError(f"The sandbox's template cannot start in mode {self._settings.mode}: {answer}")
        self._started = True

    def _send_settings(self, code: bytes | None) -> None:
        """Code may be larger than a message, so it comes in a file."""
        if code is None:
            self._control.send(self._settings.encode())
            return
        file = os.memfd_create("code")
        with os.fdopen(file, "wb") as memory:
            memory.write(code)
            memory.seek(0)
            socket.send_fds(self._control, [self._settings.encode()], [file])

    @property
    def ready(self) -> bool:
        """Whether it accepts orders."""
        return self._started and not self.gone.is_set()

    @property
    def pid(self) -> int:
        return self._process.pid

    async def spawn(self, order: SpawnOrder, child: Child) -> None:
        """Make a process. Raises SandboxError."""
        self.runs.add(order.run)
        self.emptied.clear()
        async with self._one_order:
            self._answer = self._loop.create_future()
            try:
                socket.send_fds(self._control, [encode_order(order)], child.fds_of_run)
                answer = await self._answer
            except OSError as error:
                raise SandboxError(f"The sandbox's template does not answer: {error}") from error
        if answer != f"spawned {order.run}":
            raise SandboxError(f"The sandbox cannot create a process: {answer}")
        child.handed_over()

    def why_it_ended(self) -> str:
        """What it said when it ended; empty if it said nothing, or is still running."""
        if not self.gone.is_set():
            self._read()
        return self._last_words

    def order_node(self, order: NodeTemplateOrder) -> None:
        """Start or end a Node.js template."""
        with contextlib.suppress(OSError):  # a template that is gone is replaced
            self._control.send(encode_order(order))

    def kill(self, run: int) -> None:
        """End a run whose supervisor does not answer."""
        with contextlib.suppress(OSError):
            self._control.send(encode_order(KillOrder(run)))

    def _read(self) -> None:
        while True:
            try:
                message = self._control.recv(65536).decode()
            except BlockingIOError:
                return
            except ConnectionResetError:  # it ended with an order of ours unread: that is said before its last words
                continue
            except OSError:
                message = ""
            if not message:
                self._lost()
                return
            word, _, rest = message.partition(" ")
            if word == "reaped":
                self.runs.discard(int(rest))
                if not self.runs:
                    self.emptied.set()
                self._on_reaped(int(rest))
            elif word == "node-ready":
                number, _, data_bytes = rest.partition(" ")
                self._on_node_ready(int(number), int(data_bytes))
            elif word == "node-gone":
                number, _, why = rest.partition(" ")
                self._on_node_gone(int(number), why)
            else:
                if word in ("refused:", "broken:"):
                    self._last_words = rest
                if self._answer is not None and not self._answer.done():
                    self._answer.set_result(message)

    def _lost(self) -> None:
        self._loop.remove_reader(self._control)
        if self._answer is not None and not self._answer.done():
            self._answer.set_result("broken: it ended")
        self.gone.set()
        self.emptied.set()

    async def close(self) -> None:
        """End it and everything it started, and wait for that."""
        self._loop.remove_reader(self._control)
        self._control.close()
        self.gone.set()
        try:
            await asyncio.to_thread(self._process.wait, 5)
        except subprocess.TimeoutExpired:
            log.error("the sandbox's template did not end by itself")
            self._process.kill()
            await asyncio.to_thread(self._process.wait)


# The control socket becomes descriptor 3 before any of our modules is imported.
_START = """
import os, sys
fd = int(sys.argv[1])
if fd != 3:
    os.dup2(fd, 3)
    os.close(fd)
sys.path.insert(0, sys.argv[2])
sandbox = type(sys)("sandbox")  # as a bare package: its own imports are the platform's, and every run would carry them
sandbox.__path__ = [sys.argv[2] + "/sandbox"]
sys.modules["sandbox"] = sandbox
from sandbox.template.main import main
del sys.path[0]
main()
"""
