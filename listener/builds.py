"""Builds of packages: claimed one at a time, run in the sandbox as hostile code, checked, and stored as layers.

A build takes none of the slots of invocations. Its process is confined as that of a run, with more time, memory and
room; it gets the registries' addresses and tokens, and no secret of a project or of the platform.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import util
from pathlib import Path
from typing import Any, BinaryIO
from uuid import UUID

from psycopg_pool import AsyncConnectionPool

from listener import platforms
from listener.archives import LARGEST_LAYER, ArchiveError
from listener.layers import CHUNK, EXECUTOR, Layers, compressed, unpack_file
from listener.lease import Lease
from listener.masking import Masker
from listener.postgres import DATABASE_ERRORS, storable
from listener.settings import Settings
from listener.waiting import wait_and_clear
from listener.wakeups import Wakeups
from observing.events import BuildEnded, DatabaseFailed, InternalError
from observing.stream import emit
from sandbox import Limits, LogLine, RunOutcome, RunRequest, Sandbox
from sql import builds
from sql.builds import ClaimedBuild, Layer
from sql.errors import LeaseLost
from support.locks import host_of
from support.manifests import REGISTRIES

POLL_SECONDS = 5.0
TELL_SECONDS = 1.0
RETRY_SECONDS = 1.0
LARGEST_RESULT = 4 * 1024 * 1024  # the line that says what was installed
MOST_BUFFERED = 8 * 1024 * 1024
LIMITS = Limits(
    timeout_ms=600_000,
    memory_mb=3072,
    processes=100,
    open_files=4096,
    file_mb=512,
    workspace_mb=2048,
    workspace_files=400_000,
    log_lines=5000,
)
PROGRAM = Path(__file__).resolve().parent.parent / "sdk" / "python" / "install_packages.py"


class Failed(Exception):
    """A build cannot succeed: `type` is for programs, `message` for people."""

    def __init__(self, type: str, message: str) -> None:
        super().__init__(message)
        self.type = type
        self.message = message


@dataclass(frozen=True, slots=True)
class Installed:
    """What a build says that it installed."""

    lock: str
    packages: list[dict[str, str]]
    platform: str


class Builds:
    """Claims builds and carries them out, as many at once as the settings allow."""

    def __init__(
        self,
        settings: Settings,
        pool: AsyncConnectionPool,
        sandbox: Sandbox,
        lease: Lease,
        layers: Layers,
        wakeups: Wakeups,
    ) -> None:
        self._settings = settings
        self._pool = pool
        self._sandbox = sandbox
        self._lease = lease
        self._layers = layers
        self._wake = wakeups.builds
        self._masker = Masker(settings.registry_secrets())

    async def run(self) -> None:
        """Build what is queued, for ever."""
        async with asyncio.TaskGroup() as workers:
            workers.create_task(asyncio.Event().wait())  # a duty never returns, even where nothing is built
            for _ in range(self._settings.builds):
                workers.create_task(self._work())

    async def _work(self) -> None:
        while True:
            lease = self._lease.id
            try:
                build = None if lease is None else await self._claim(lease)
            except DATABASE_ERRORS as error:
                emit(DatabaseFailed("builds", str(error).strip()))
                build = None
            if build is None or lease is None:
                await wait_and_clear(self._wake, POLL_SECONDS)
            else:
                await self._build(lease, build)

    async def _claim(self, lease: UUID) -> ClaimedBuild | None:
        async with self._pool.connection() as connection:
            return await builds.claim(connection, lease)

    async def _build(self, lease: UUID, build: ClaimedBuild) -> None:
        began = time.monotonic()
        try:
            status = await self._carry_out(lease, build)
        except (LeaseLost, *DATABASE_ERRORS) as error:  # the build is started again once the lease has expired
            emit(DatabaseFailed("builds", str(error).strip()))
            await asyncio.sleep(RETRY_SECONDS)
            status = "lost"
        emit(BuildEnded(build.id, build.runtime, status, time.monotonic() - began))

    async def _carry_out(self, lease: UUID, build: ClaimedBuild) -> str:
        """Run a build to its end, and write that; returns how it ended."""
        try:
            async with self._layers.staging() as staging:
                return await self._install(lease, build, staging)
        except Failed as failure:
            type, message = failure.type, failure.message
        except OSError as error:
            type, message = "platform_error", f"The listener cannot store packages: {error.strerror}."
        except (LeaseLost, *DATABASE_ERRORS):
            raise
        except Exception as error:  # a fault of ours must not leave the build running for ever
            emit(InternalError("a build", error))
            type, message = "platform_error", f"The platform failed to build this: {error!r}"
        status = "cancelled" if type == "cancelled" else "failed"
        error_of_build = {"type": type, "message": storable(self._masker.masked(message))}
        async with self._pool.connection() as connection:
            await builds.finish(
                connection, lease, build.id, status, error=error_of_build if status == "failed" else None
            )
        return status

    async def _install(self, lease: UUID, build: ClaimedBuild, staging: Path) -> str:
        printed: list[LogLine] = []
        cancel = asyncio.Event()
        request = await EXECUTOR.run(self._request, build, printed)
        file = await EXECUTOR.run(_create, staging / "sent")
        sink = FileSink(file)
        telling = asyncio.create_task(self._tell(lease, build.id, printed, cancel))
        try:
            outcome = await self._sandbox.run(request, cancel, sink)
            await sink.written()
        finally:
            sink.close()
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)
            await EXECUTOR.run(file.close)
        await self._tell_from(lease, build.id, printed, 0)  # whatever was written before is left as it is
        _check_outcome(outcome, sink)
        return await self._store(lease, build, staging)

    def _request(self, build: ClaimedBuild, printed: list[LogLine]) -> RunRequest:
        manifest = {name: text for name, text in build.manifest.items() if name != REGISTRIES}
        self._check_registries(build)
        payload: dict[str, Any] = {"runtime": build.runtime, "manifest": manifest}
        if build.runtime == "python":
            payload |= {"pip": base64.b64encode(pip_archive()).decode(), "index_url": self._settings.python_index_url}
        else:
            payload |= {
                "node": str(platforms.node()),
                "npm": str(platforms.npm()),
                "registry": self._settings.npm_registry,
                "token": self._settings.npm_token or "",
            }
        return RunRequest(
            language="python",
            code=PROGRAM.read_text("utf-8"),
            entry_point="handler",
            filename="install_packages.py",
            payload_json=json.dumps(payload),
            limits=LIMITS,
            printed=printed,
            background=True,
        )

    def _check_registries(self, build: ClaimedBuild) -> None:
        """Raises Failed where a lock names a registry that is none of ours."""
        ours = {host_of(url) for url in self._settings.registries(build.runtime)}
        for host in build.manifest.get(REGISTRIES, "").split():
            if host not in ours:
                raise Failed(
                    "other_registry",
                    f"The lock names the registry {host}, which is not one of this installation. "
                    "Lock the packages from the registry of the platform.",
                )

    async def _store(self, lease: UUID, build: ClaimedBuild, staging: Path) -> str:
        """Check what was sent; in one transaction write the layer and the end of the build."""
        try:
            installed, skipped = await EXECUTOR.run(_read_result, staging / "sent")
            contents = await EXECUTOR.run(unpack_file, staging / "sent", staging / "layer", build.runtime, skipped)
        except ArchiveError as error:
            raise Failed("invalid_layer", f"{error}.") from error
        layer = Layer(contents.hash, installed.platform, contents.bytes) if contents.files else None
        async with self._pool.connection() as connection, connection.transaction():
            if layer is not None and await builds.add_layer(connection, lease, build.id, layer, contents.files):
                with open(staging / "sent", "rb") as file:  # noqa: ASYNC230 - read in a thread
                    file.seek(skipped)
                    number = 0
                    while data := await EXECUTOR.run(_next_chunk, file):
                        await builds.add_chunk(connection, lease, build.id, layer.hash, number, data)
                        number += 1
            await builds.finish(
                connection,
                lease,
                build.id,
                "succeeded",
                lock=installed.lock,
                packages=installed.packages,
                layer=layer.hash if layer else None,
            )
        if layer is not None:
            await self._layers.add(staging / "layer", layer)
        return "succeeded"

    async def _tell(self, lease: UUID, build: UUID, printed: list[LogLine], cancel: asyncio.Event) -> None:
        """Write what the build prints while it runs, and stop it when it was cancelled or belongs to another."""
        written = 0
        while True:
            await asyncio.sleep(TELL_SECONDS)
            try:
                written, go_on = await self._tell_from(lease, build, printed, written)
            except DATABASE_ERRORS as error:
                emit(DatabaseFailed("builds", str(error).strip()))
                go_on = self._lease.holds(lease)
            if not go_on or not self._lease.holds(lease):
                cancel.set()

    async def _tell_from(self, lease: UUID, build: UUID, printed: list[LogLine], start: int) -> tuple[int, bool]:
        """How many lines are written now, and whether the build should go on."""
        lines = [
            (number, line.at, storable(self._masker.masked(line.message)))
            for number, line in enumerate(printed[start:], start + 1)
        ]
        async with self._pool.connection() as connection:
            go_on = await builds.tell(connection, lease, build, lines)
        return start + len(lines), go_on


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


def _check_outcome(outcome: RunOutcome, sink: FileSink) -> None:
    """Raises Failed, OSError."""
    if outcome.status == "cancelled":
        raise Failed("cancelled", "cancelled on request")
    if outcome.status == "timeout":
        raise Failed("timeout", f"Installing the packages took longer than {LIMITS.timeout_ms // 60000} minutes.")
    if outcome.error is not None:
        type = "packages_not_installed" if outcome.error.type == "BuildFailed" else outcome.error.type
        raise Failed(type, outcome.error.message)
    if sink.error is not None:
        raise sink.error
    if sink.too_large:
        raise Failed("layer_too_large", f"The packages are larger than {LARGEST_LAYER // CHUNK} MiB.")


def _read_result(place: Path) -> tuple[Installed, int]:
    """The first line of what was sent, and its length. Raises ArchiveError."""
    with open(place, "rb") as file:
        line = file.readline(LARGEST_RESULT)
    try:
        said = json.loads(line)
        packages = [{key: storable(one[key]) for key in ("name", "version", "hash")} for one in said["packages"]]
        return Installed(storable(said["lock"]), packages, storable(said["platform"])), len(line)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ArchiveError("the build did not say what it installed") from error


def _next_chunk(file: BinaryIO) -> bytes | None:
    data = file.read(CHUNK)
    return compressed(data) if data else None


def _create(place: Path) -> BinaryIO:
    return open(place, "xb")


def pip_archive() -> bytes:
    """pip as a ZIP archive: the one that is installed beside the platform, else the one that came with Python."""
    spec = util.find_spec("pip")
    if spec is None or spec.origin is None:
        import ensurepip

        [wheel] = (Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl")
        return wheel.read_bytes()
    package = Path(spec.origin).parent
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(package.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                archive.write(file, str(file.relative_to(package.parent)))
    return buffer.getvalue()
