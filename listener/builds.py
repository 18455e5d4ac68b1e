"""Builds of packages: claimed one at a time, run in the sandbox as hostile code, checked, and stored as layers.

A build occupies no slot. Its process is confined like a run, with more time, memory and disk space; it gets the
registries' URLs and tokens, but no secret of a project or the platform.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import time
import zipfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from importlib import util
from pathlib import Path
from typing import Any, BinaryIO
from uuid import UUID

from psycopg_pool import AsyncConnectionPool

from listener import platforms
from listener.build_output import Archive, Failed, FileSink, Installed, Interrupted, check_outcome, read_sent
from listener.build_proxy import BuildProxy, refusal
from listener.bundles import read_bundle
from listener.environments import off_the_loop
from listener.layers import CHUNK, EXECUTOR, LayerError, Layers, append_chunk, compressed
from listener.lease import Lease
from listener.masking import Masker
from listener.postgres import DATABASE_ERRORS, storable
from listener.registries import Registries, registries_of
from listener.settings import Settings
from listener.waiting import wait_and_clear
from listener.wakeups import Wakeups
from observing.events import BuildEnded, BuildInterrupted, DatabaseFailed, InternalError
from observing.stream import emit
from sandbox import Image, Limits, LogLine, RunRequest, Sandbox, connect_filter
from sql import builds
from sql import registries as registries_in_database
from sql.builds import ClaimedBuild, Layer
from sql.errors import LeaseLost
from support.manifests import REGISTRIES
from support.sealing import Sealer, SealingError

POLL_SECONDS = 5.0
TELL_SECONDS = 1.0
RETRY_SECONDS = 1.0
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
NETWORK = PROGRAM.with_name("build_network.py")


class Builds:
    """Claims builds and runs them, as many at once as the settings allow."""

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
        self._sealer = Sealer(settings.secret_key)

    async def run(self) -> None:
        """Run queued builds until cancelled."""
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
        except LeaseLost:  # the build is started again elsewhere
            status = "lost"
        except Interrupted as interruption:
            status = await self._give_back(lease, build, interruption)
        except DATABASE_ERRORS as error:
            emit(DatabaseFailed("builds", str(error).strip()))
            status = await self._give_back(lease, build, Interrupted("platform_error", "The database failed."))
        emit(BuildEnded(build.id, build.runtime, status, time.monotonic() - began))

    async def _give_back(self, lease: UUID, build: ClaimedBuild, interruption: Interrupted) -> str:
        """Have the build queued again, after a while: what interrupted it may last. Returns its status."""
        emit(BuildInterrupted(build.id, build.attempts, interruption.message))
        pause = RETRY_SECONDS * 2**build.attempts
        while True:
            await asyncio.sleep(pause)
            if not self._lease.holds(lease):
                return "lost"  # or taken from this listener, which comes to the same
            try:
                async with self._pool.connection() as connection:
                    found = await builds.requeue(connection, lease, build.id, interruption.type, interruption.message)
                return found or "lost"
            except DATABASE_ERRORS as error:
                emit(DatabaseFailed("builds", str(error).strip()))
                pause = RETRY_SECONDS

    async def _carry_out(self, lease: UUID, build: ClaimedBuild) -> str:
        """Run a build and write its outcome; returns its final status."""
        masker = self._masker
        try:
            registries, allow_scripts = await self._settings_of_project(lease, build)
            masker = Masker([*self._settings.registry_secrets(), *registries.secrets()])
            _check_registries(build, registries)
            async with self._layers.staging() as staging:
                if build.bundle is not None:
                    return await self._unbundle(lease, build, build.bundle, staging, masker)
                return await self._install(lease, build, staging, masker, registries, allow_scripts)
        except Failed as failure:
            type, message = failure.type, failure.message
        except SealingError as error:
            type, message = "platform_error", f"{error}."
        except OSError as error:
            type, message = "platform_error", f"The listener cannot store packages: {error.strerror}."
        except (Interrupted, LeaseLost, *DATABASE_ERRORS):
            raise
        except Exception as error:  # a bug of the listener must not leave the build in status running
            emit(InternalError("a build", error))
            type, message = "platform_error", f"The platform failed to build this: {error!r}"
        status = "cancelled" if type == "cancelled" else "failed"
        message = await off_the_loop(len(message), _shown, message, masker)
        error_of_build = {"type": type, "message": message}
        async with self._pool.connection() as connection:
            await builds.finish(
                connection, lease, build.id, status, error=error_of_build if status == "failed" else None
            )
        return status

    async def _settings_of_project(self, lease: UUID, build: ClaimedBuild) -> tuple[Registries, list[str]]:
        """Where it finds packages, and which of them may run scripts. Raises SealingError, psycopg.Error."""
        async with self._pool.connection() as connection:
            sealed = await registries_in_database.registries_of_build(connection, lease, build.id)
            scripts = await registries_in_database.allowed_scripts(connection, build.project_id)
        return registries_of(self._settings, build.runtime, sealed, self._sealer), scripts

    async def _install(
        self,
        lease: UUID,
        build: ClaimedBuild,
        staging: Path,
        masker: Masker,
        registries: Registries,
        allow_scripts: list[str],
    ) -> str:
        printed: list[LogLine] = []
        proxy = BuildProxy([*registries.connected_to(), *self._settings.build_hosts], partial(_warn, printed))
        async with self._told(lease, build.id, printed, masker) as cancel, proxy.serving():
            common = {**self._payload(build), "network": _network(proxy)}
            payload = {**common, "registries": registries.payload(), "allow_scripts": allow_scripts}
            try:
                installed, archive = await self._run(payload, printed, cancel, staging / "installed")
                scripts = sorted(set(installed.scripts) & set(allow_scripts))
                if scripts and archive.contents.files:
                    order = {**common, "scripts": scripts, "installed": installed.said()}
                    archive = await self._run_scripts(build, order, archive, printed, cancel, staging / "built")
            except Failed as failure:
                raise _explained(failure, proxy) from failure
        return await self._store(lease, build, installed, archive)

    async def _unbundle(self, lease: UUID, build: ClaimedBuild, hash: str, staging: Path, masker: Masker) -> str:
        """Store packages that were uploaded; those of Python are compiled first, by a run."""
        printed: list[LogLine] = []
        async with self._told(lease, build.id, printed, masker) as cancel:
            sent = await EXECUTOR.run(_create, staging / "sent")
            try:
                await self._download(lease, build, sent)
            finally:
                await EXECUTOR.run(sent.close)
            installed, archive = await EXECUTOR.run(read_bundle, staging, build.runtime, build.manifest, hash)
            if build.runtime == "python":
                order = {**self._payload(build), "compile": True, "installed": installed.said()}
                archive = await self._run_scripts(build, order, archive, printed, cancel, staging / "built")
        return await self._store(lease, build, installed, archive)

    async def _download(self, lease: UUID, build: ClaimedBuild, file: BinaryIO) -> None:
        """The archive of a bundle. Raises Failed, OSError, psycopg.Error."""
        number = 0
        while True:
            async with self._pool.connection() as connection:
                data = await builds.bundle_chunk(connection, lease, build.id, number)
            if data is None:
                return
            try:
                await EXECUTOR.run(append_chunk, file, data)
            except LayerError as error:
                raise Failed("invalid_bundle", "The bundle is damaged: deploy it again.") from error
            number += 1

    async def _run_scripts(
        self,
        build: ClaimedBuild,
        order: Mapping[str, Any],
        archive: Archive,
        printed: list[LogLine],
        cancel: asyncio.Event,
        staging: Path,
    ) -> Archive:
        """What install scripts, or the compiler, make of a layer, in a run that knows no token."""
        layer = Layer(archive.contents.hash, order["installed"]["platform"], archive.contents.bytes)
        async with self._layers.kept(archive.folder, layer) as path:
            image = Image(layer.hash, path, project=str(build.project_id))
            _, built = await self._run({**order, "image": str(path)}, printed, cancel, staging, image)
        return built

    async def _run(
        self,
        payload: Mapping[str, Any],
        printed: list[LogLine],
        cancel: asyncio.Event,
        staging: Path,
        image: Image | None = None,
    ) -> tuple[Installed, Archive]:
        """What a run of the installer says and sends, checked. Raises Failed, Interrupted, OSError."""
        await EXECUTOR.run(staging.mkdir)
        file = await EXECUTOR.run(_create, staging / "sent")
        sink = FileSink(file)
        try:
            request = await EXECUTOR.run(_request, payload, printed, image)
            outcome = await self._sandbox.run(request, cancel, sink)
            await sink.written()
        finally:
            sink.close()
            await EXECUTOR.run(file.close)
        check_outcome(outcome, sink, LIMITS)
        return await EXECUTOR.run(read_sent, staging, payload["runtime"])

    def _payload(self, build: ClaimedBuild) -> dict[str, Any]:
        manifest = {name: text for name, text in build.manifest.items() if name != REGISTRIES}
        payload: dict[str, Any] = {"runtime": build.runtime, "manifest": manifest}
        if build.runtime == "python":
            return payload
        return payload | {"node": str(platforms.node()), "npm": str(platforms.npm())}

    async def _store(self, lease: UUID, build: ClaimedBuild, installed: Installed, archive: Archive) -> str:
        """In one transaction write the layer and the end of the build."""
        contents = archive.contents
        layer = Layer(contents.hash, installed.platform, contents.bytes) if contents.files else None
        async with self._pool.connection() as connection, connection.transaction():
            if layer is not None and await builds.add_layer(connection, lease, build.id, layer, contents.files):
                with open(archive.sent, "rb") as file:  # noqa: ASYNC230 - read in a thread
                    file.seek(archive.skipped)
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
            await self._layers.add(archive.folder, layer)
        return "succeeded"

    @asynccontextmanager
    async def _told(
        self, lease: UUID, build: UUID, printed: list[LogLine], masker: Masker
    ) -> AsyncIterator[asyncio.Event]:
        """Writes what a build prints, while it runs and at its end; sets the event when it is to stop."""
        cancel = asyncio.Event()
        telling = asyncio.create_task(self._tell(lease, build, printed, masker, cancel))
        try:
            yield cancel
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)
            await self._tell_from(lease, build, printed, masker, 0)  # whatever was written before is left as it is

    async def _tell(
        self, lease: UUID, build: UUID, printed: list[LogLine], masker: Masker, cancel: asyncio.Event
    ) -> None:
        """Write the build's output while it runs. Stop it once it is cancelled or another listener owns it."""
        written = 0
        while True:
            await asyncio.sleep(TELL_SECONDS)
            try:
                written, go_on = await self._tell_from(lease, build, printed, masker, written)
            except DATABASE_ERRORS as error:
                emit(DatabaseFailed("builds", str(error).strip()))
                go_on = self._lease.holds(lease)
            if not go_on or not self._lease.holds(lease):
                cancel.set()

    async def _tell_from(
        self, lease: UUID, build: UUID, printed: list[LogLine], masker: Masker, start: int
    ) -> tuple[int, bool]:
        """The number of lines written so far, and whether the build should continue."""
        new = printed[start:]
        shown = await off_the_loop(sum(len(line.message) for line in new), _all_shown, new, masker)
        lines = [(number, line.at, text) for number, (line, text) in enumerate(zip(new, shown, strict=True), start + 1)]
        async with self._pool.connection() as connection:
            go_on = await builds.tell(connection, lease, build, lines)
        return start + len(lines), go_on


def _request(payload: Mapping[str, Any], printed: list[LogLine], image: Image | None) -> RunRequest:
    if payload["runtime"] == "python":
        payload = {**payload, "pip": base64.b64encode(pip_archive()).decode()}
    return RunRequest(
        language="python",
        code=PROGRAM.read_text("utf-8"),
        entry_file=PROGRAM.name,
        files=json.dumps({NETWORK.name: NETWORK.read_text("utf-8")}).encode(),
        entry_point="handler",
        filename=PROGRAM.name,
        payload_json=json.dumps(payload),
        limits=LIMITS,
        printed=printed,
        background=True,
        image=image,
        network="none" if payload.get("compile") else "open",
    )


def _shown(text: str, masker: Masker) -> str:
    return storable(masker.masked(text))


def _all_shown(lines: Sequence[LogLine], masker: Masker) -> list[str]:
    return [_shown(line.message, masker) for line in lines]


def _network(proxy: BuildProxy) -> dict[str, Any]:
    """The settings that sdk/python/build_network.py reads."""
    filters = {"notifying": connect_filter(notify=True), "allowing": connect_filter(notify=False)}
    return {"port": proxy.port, "url": proxy.url} | {
        name: base64.b64encode(program).decode() for name, program in filters.items()
    }


def _warn(printed: list[LogLine], sentence: str) -> None:
    printed.append(LogLine(datetime.now(UTC), "warning", f"{sentence[0].upper()}{sentence[1:]}"))


def _explained(failure: Failed, proxy: BuildProxy) -> Failed:
    """The failure, with the hosts that the build was refused."""
    if failure.type == "cancelled" or not proxy.refused:
        return failure
    return Failed(failure.type, f"{refusal(proxy.refused)}; {failure.message}")


def _check_registries(build: ClaimedBuild, registries: Registries) -> None:
    """Raises Failed where a lock names a registry that is none of the build's."""
    for host in build.manifest.get(REGISTRIES, "").split():
        if host not in registries.hosts():
            raise Failed(
                "other_registry",
                f"The lock names the registry {host}, which is neither the installation's nor one of the project: "
                "lock the packages from one of those, or add it: zmesh registries set RUNTIME URL.",
            )


def _create(place: Path) -> BinaryIO:
    return open(place, "xb")


def _next_chunk(file: BinaryIO) -> bytes | None:
    data = file.read(CHUNK)
    return compressed(data) if data else None


def pip_archive() -> bytes:
    """pip as a ZIP archive, with the program that runs it: the pip that is installed beside the platform, else the one
    that came with Python."""
    buffer = io.BytesIO()
    spec = util.find_spec("pip")
    if spec is None or spec.origin is None:
        import ensurepip

        [wheel] = (Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl")
        buffer.write(wheel.read_bytes())
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as archive:
        if spec is not None and spec.origin is not None:
            package = Path(spec.origin).parent
            for file in sorted(package.rglob("*")):
                if file.is_file() and "__pycache__" not in file.parts:
                    archive.write(file, str(file.relative_to(package.parent)))
        archive.write(PROGRAM.with_name("pip_indexes.py"), "pip_indexes.py")
    return buffer.getvalue()
