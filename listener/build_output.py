"""What a build sends: written to a file while it runs, and read as what hostile code may have sent."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import msgspec

from listener.archives import LARGEST_LAYER, ArchiveError, Contents
from listener.layers import EXECUTOR, MIB, unpack_file
from listener.postgres import storable
from sandbox import Limits, RunError, RunOutcome
from support.texts import sentence

LARGEST_RESULT = 4 * 1024 * 1024  # the line that says what was installed
MOST_PACKAGES = 10_000
MOST_BUFFERED = 8 * 1024 * 1024
INTERRUPTIONS = ("sandbox_failed", "BuildInterrupted")  # types of errors for which the build is not to blame


class _Ended(Exception):
    """An attempt at a build ended early: `type` is for programs, `message` for people."""

    def __init__(self, type: str, message: str) -> None:
        super().__init__(message)
        self.type = type
        self.message = message


class Failed(_Ended):
    """The build cannot succeed."""


class Interrupted(_Ended):
    """The build was interrupted through no fault of its own; the message is a sentence."""


class _Package(msgspec.Struct):
    name: str
    version: str
    hash: str


class _Said(msgspec.Struct):
    """The first line of what a build sends."""

    lock: str
    platform: str
    packages: Annotated[list[_Package], msgspec.Meta(max_length=MOST_PACKAGES)]
    scripts: Annotated[list[str], msgspec.Meta(max_length=MOST_PACKAGES)] = []


@dataclass(frozen=True, slots=True)
class Installed:
    """What a build says that it installed."""

    lock: str
    packages: list[dict[str, str]]
    platform: str
    scripts: list[str]  # packages whose install scripts are allowed, and have still to run

    def said(self) -> dict[str, Any]:
        """As the build reported it. Not a deep copy, which takes 90 ms for 10,000 packages."""
        return {"lock": self.lock, "packages": self.packages, "platform": self.platform, "scripts": self.scripts}


@dataclass(frozen=True, slots=True)
class Archive:
    """The archive in a file, after so many bytes of it, and the folder into which it was unpacked."""

    sent: Path
    skipped: int
    folder: Path
    contents: Contents


class FileSink:
    """Writes what a build sends into a file, by threads; while much is unwritten, nothing more is read of the build."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._pieces: list[bytes] = []
        self._buffered = 0
        self._bytes = 0
        self._more = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self.error: OSError | None = None
        self._writing = asyncio.create_task(self._write())

    def start(self, head: Mapping[str, Any]) -> None:
        """The status and headers of the response say nothing here."""

    def write(self, data: bytes) -> None:
        self._bytes += len(data)
        if self.too_large:
            return
        self._pieces.append(data)
        self._buffered += len(data)
        self._more.set()
        if self.full:
            self._room.clear()

    @property
    def full(self) -> bool:
        return self._buffered > MOST_BUFFERED

    @property
    def too_large(self) -> bool:
        return self._bytes > LARGEST_LAYER + LARGEST_RESULT

    async def room(self) -> None:
        await self._room.wait()

    async def written(self) -> None:
        """Return when all of it is in the file."""
        while self._buffered and self.error is None:
            self._room.clear()
            self._more.set()
            await self._room.wait()

    def close(self) -> None:
        self._writing.cancel()

    async def _write(self) -> None:
        while True:
            await self._more.wait()
            self._more.clear()
            pieces, self._pieces = self._pieces, []
            try:
                await EXECUTOR.run(self._file.writelines, pieces)
            except OSError as error:
                self.error = error
            self._buffered -= sum(map(len, pieces))
            self._room.set()


def check_outcome(outcome: RunOutcome, sink: FileSink, limits: Limits) -> None:
    """Raises Failed, Interrupted, OSError."""
    error = outcome.error
    if outcome.status == "cancelled":
        raise Failed("cancelled", "cancelled on request")
    if outcome.status == "timeout":
        raise Failed("timeout", f"Installing the packages took longer than {limits.timeout_ms // 60_000} minutes.")
    if error is not None and (outcome.killed or error.type in INTERRUPTIONS):
        raise _interruption(error)
    if error is not None and error.type == "memory_limit":
        raise Failed("memory_limit", f"Installing the packages took more than {limits.memory_mb} MiB of memory.")
    if error is not None:
        raise Failed("packages_not_installed" if error.type == "BuildFailed" else error.type, error.message)
    if sink.error is not None:
        raise sink.error
    if sink.too_large:
        raise Failed("layer_too_large", f"The packages are larger than {LARGEST_LAYER // MIB} MiB.")


def _interruption(error: RunError) -> Interrupted:
    if error.type == "memory_limit":
        return Interrupted(
            "memory_limit",
            "The kernel killed the installer because the machine or the listener's container ran out of memory: "
            "give the listener more memory or fewer slots.",
        )
    if error.type in INTERRUPTIONS:
        return Interrupted("sandbox_failed", sentence(error.message))
    return Interrupted("sandbox_failed", "The installer's process was killed from outside.")


def read_sent(staging: Path, runtime: str) -> tuple[Installed, Archive]:
    """What a build sent into this folder, unpacked beside it. Raises Failed."""
    sent, folder = staging / "sent", staging / "layer"
    try:
        installed, skipped = _read_result(sent)
        return installed, Archive(sent, skipped, folder, unpack_file(sent, folder, runtime, skipped))
    except ArchiveError as error:
        raise Failed("invalid_layer", f"{error}.") from error


def _read_result(place: Path) -> tuple[Installed, int]:
    """The first line of what was sent, and its length. Raises ArchiveError."""
    with open(place, "rb") as file:
        line = file.readline(LARGEST_RESULT)
    try:
        said = msgspec.json.decode(line, type=_Said)  # makes no other values: those of 4 MiB would hold the listener
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise ArchiveError("the build did not say what it installed") from error
    packages = [{key: storable(getattr(one, key)) for key in ("name", "version", "hash")} for one in said.packages]
    scripts = [storable(name) for name in said.scripts]
    return Installed(storable(said.lock), packages, storable(said.platform), scripts), len(line)
