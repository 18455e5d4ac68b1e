"""Holds one Sandbox in a process of its own, so that it may be another user's, be measured, and be killed.

Reads pickled commands from standard input, each behind its length, and answers likewise on standard output.
"""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import signal
import socket
import struct
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

if __name__ == "__main__":
    sys.path.insert(0, sys.argv[1])

from sandbox import Attachment, ImageTemplateLimits, Limits, Sandbox, native  # of the installation just named

LENGTH = struct.Struct("!I")
HEARTBEAT_SECONDS = 0.005


class FewSeconds(Limits):
    """Less CPU time than the wall-clock limit gives. Here, where an installation without the tests finds it."""

    @property
    def cpu_seconds(self) -> int:
        return 1


@dataclass(frozen=True)
class ConnectionTo:
    """A connection to a local TCP port for a run to take over. Here for the same reason."""

    port: int

    async def __call__(self) -> Attachment:
        return Attachment(socket.create_connection(("127.0.0.1", self.port)), b"")


class SandboxHost:
    """Obeys one client. Runs go on side by side."""

    def __init__(self, answers: BinaryIO, sandbox: Sandbox) -> None:
        self._answers = answers
        self._sandbox = sandbox
        self._runs: dict[int, tuple[asyncio.Task[None], asyncio.Event]] = {}
        self._longest_stall = 0.0
        self._busy = asyncio.Event()  # there are runs

    async def serve(self) -> None:
        commands = await self._standard_input()
        await self._sandbox.start()
        heart = asyncio.create_task(self._heartbeat())
        self._answer(0, self._sandbox.report())
        while command := await self._next(commands):
            await self._obey(*command)
        heart.cancel()
        await self._sandbox.close()

    async def _obey(self, word: str, number: int, value: Any) -> None:
        if word == "run":
            cancel = asyncio.Event()
            task = asyncio.create_task(self._run(number, value, cancel))
            task.add_done_callback(lambda done: self._forget(number))
            self._runs[number] = task, cancel
            self._busy.set()
        elif word == "cancel" and value in self._runs:
            self._runs[value][1].set()
        elif word == "abandon" and value in self._runs:
            self._runs[value][0].cancel()
        elif word == "state":
            self._answer(number, self._state())
        elif word == "end_image_template":
            ready = self._sandbox._image_templates._ready
            [template] = [template for key, template in ready.items() if key.image == value]
            os.kill(template.process.pid, signal.SIGKILL)
            await template.process.gone.wait()
            self._answer(number, None)

    def _forget(self, number: int) -> None:
        del self._runs[number]
        if not self._runs:
            self._busy.clear()

    async def _run(self, number: int, request: Any, cancel: asyncio.Event) -> None:
        try:
            self._answer(number, await self._sandbox.run(request, cancel))
        except BaseException as error:  # told to the test, which fails
            self._answer(number, RuntimeError(f"run() raised {error!r}"))

    def _state(self) -> dict[str, Any]:
        sandbox, images = self._sandbox, self._sandbox._image_templates
        stall, self._longest_stall = self._longest_stall, 0.0
        return {
            "first_user": sandbox._uids.base if sandbox._uids else None,
            "slots_taken": len(sandbox._slot_of),
            "parked": sandbox._parking.alive(),
            "making": sandbox._parking.filling + len(images._making) + len(images._closing),
            "image_templates": sandbox.image_templates(),
            "runs": len(self._runs),
            "descriptors": len(os.listdir("/proc/self/fd")),
            "tasks": len(asyncio.all_tasks()),
            "stall_seconds": stall,
            "template": sandbox._template.pid if sandbox._template else None,
            "templates": self._templates(),
        }

    def _templates(self) -> int:
        """Processes that runs are forked from, or that hold these or their users."""
        settings = self._sandbox._settings
        of_node = self._sandbox._node_templates
        return (
            1
            + (settings.mode == "user_namespace")
            + (self._sandbox._uids is not None)
            + 2 * settings.native  # the Python that is forked, and what makes supervisors
            + len(of_node._data_bytes.keys() | of_node._booting.keys())
            + (5 if self._sandbox._uids else 4) * len(self._sandbox._image_templates._ready)
        )

    async def _heartbeat(self) -> None:
        """How long at most the loop's thread computed without letting anything else run, while there were runs."""
        while True:
            await self._busy.wait()  # beating takes 2 % of a processor, of each sandbox until the last test
            before = time.thread_time()
            await asyncio.sleep(HEARTBEAT_SECONDS)
            self._longest_stall = max(self._longest_stall, time.thread_time() - before)

    @staticmethod
    async def _standard_input() -> asyncio.StreamReader:
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        return reader

    @staticmethod
    async def _next(commands: asyncio.StreamReader) -> Any:
        try:
            return pickle.loads(await commands.readexactly(LENGTH.unpack(await commands.readexactly(LENGTH.size))[0]))
        except asyncio.IncompleteReadError:
            return None

    def _answer(self, number: int, value: Any) -> None:
        body = pickle.dumps((number, value))
        self._answers.write(LENGTH.pack(len(body)) + body)
        self._answers.flush()


def main() -> None:
    """Arguments: the folder of the packages, the mode, whether runs are forked, the run folder, hidden folders."""
    _, _, mode, way, run_dir, *hidden = sys.argv
    if way == "started":
        native.SUPERVISOR = "/nowhere"
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)

    async def serve() -> None:
        sandbox = Sandbox(
            4,
            Path(run_dir),
            hidden=[Path(path) for path in hidden],
            images=Path(run_dir, "images"),
            image_templates=ImageTemplateLimits(**json.loads(os.environ["IMAGE_LIMITS"])),
            modes=[mode],  # type: ignore[list-item]
        )
        await SandboxHost(answers, sandbox).serve()

    asyncio.run(serve())


if __name__ == "__main__":
    main()
