"""The sandbox of tests, as a process of its own: its start, and how tests ask it for a run.

The tests' database sessions pass through it, so that a run can work in the transaction of the test that requests it.
A request is one line of JSON on a Unix socket, and so is its answer.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cli.errors import CliError

if TYPE_CHECKING:
    from cli.testing.sandboxed import SandboxedRuns
    from cli.testing.sessions import Sessions

DATABASE, SANDBOX = "ZMESH_TEST_DATABASE_URL", "ZMESH_TEST_SANDBOX"
LARGEST_LINE = 64 * 1024 * 1024
LONGEST_FOLDER = 107 - len("/zmesh-sandbox-12345678/socket")


@contextmanager
def sandbox_beside(url: str) -> Iterator[Mapping[str, str]]:
    """The variables by which tests find their database and the sandbox beside it. Raises CliError."""
    database = urlsplit(url)
    with tempfile.TemporaryDirectory(prefix="zmesh-sandbox-", dir=_place_of_sockets()) as folder:
        socket = f"{folder}/socket"
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__, socket, str(database.hostname), str(database.port)],
            stdin=subprocess.PIPE,  # its end is the sign to stop, however we end
            stdout=subprocess.PIPE,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            port = process.stdout.readline().decode().strip()
            if not port:
                raise CliError("The sandbox for tests did not start.", code="sandbox_failed")
            netloc = f"{database.netloc.rpartition(':')[0]}:{port}"
            yield {DATABASE: database._replace(netloc=netloc).geturl(), SANDBOX: socket}
        finally:
            process.stdin.close()
            process.wait()


def _place_of_sockets() -> str:
    """The path of a socket may have 107 bytes, and pipelines may have long folders for temporary files."""
    usual = tempfile.gettempdir()
    return usual if len(os.fsencode(usual)) <= LONGEST_FOLDER else "/tmp"


async def serve(socket: str, host: str, port: int) -> None:
    """Serve tests until stdin ends."""
    from cli.testing.sessions import Sessions

    sessions = Sessions(host, port)
    runs = _Runs(sessions)
    try:
        listening = await sessions.listen()
        await asyncio.start_unix_server(partial(_serve_one, runs), socket, limit=LARGEST_LINE)
        os.write(sys.stdout.fileno(), b"%d\n" % listening)
        ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), ended.set)
        await ended.wait()
    finally:
        await runs.close()
        await sessions.close()


class _Runs:
    """Runs, imported with the first one: most tests request none, and all of them wait until the server listens."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    @cached_property
    def _runs(self) -> SandboxedRuns:
        from cli.testing.sandboxed import SandboxedRuns

        return SandboxedRuns(self._sessions)

    async def run(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        """How the run ended. Raises CliError."""
        return await self._runs.run(asked)

    async def close(self) -> None:
        """End what runs."""
        if "_runs" in self.__dict__:
            await self._runs.close()


async def _serve_one(runs: _Runs, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        answer = await _answer(runs, await reader.readline())
        writer.write(json.dumps(answer).encode() + b"\n")
    finally:
        writer.close()  # in any case: the test waits for it


async def _answer(runs: _Runs, asked: bytes) -> Mapping[str, Any]:
    try:
        return await runs.run(json.loads(asked))
    except CliError as error:
        return {"refused": f"{error.message} {error.hint}".strip()}
    except (OSError, ValueError) as error:  # the path is too long, or has a NUL character
        return {"refused": str(error)}


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is for the command, which ends this process
    asyncio.run(serve(sys.argv[1], sys.argv[2], int(sys.argv[3])))
