"""Layers on this machine: fetched from the database when first needed, verified by their hash, and kept while there is
room. Nothing but this file writes into the folder."""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import shutil
import stat
import tempfile
import zlib
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import UUID

from psycopg_pool import AsyncConnectionPool

from listener import archives
from listener.archives import ArchiveError
from listener.platforms import platform_of
from listener.postgres import DATABASE_ERRORS
from sandbox import Image, Preload, Sandbox, SandboxError
from sql import builds
from sql.builds import Layer
from support.executors import Executor

MIB = 1024 * 1024
CHUNK = MIB  # before compression
MOST_REMEMBERED = 10_000
MOST_LOADED = 8  # of the templates that a listener begins with
STAGING = "staging-"
MOST_LISTENERS = 100  # that share a folder
EXECUTOR = Executor("layers", 4)


class LayerError(Exception):
    """The packages of a function are unavailable; the message says why and what to do."""


class Layers:
    """The layers of this process. Each is a folder named by its hash, complete from the moment it has that name."""

    def __init__(self, pool: AsyncConnectionPool, folder: Path, most_bytes: int) -> None:
        self._pool = pool
        self._parent = self.folder = folder
        self._lock = -1
        self._most_bytes = most_bytes
        self._sizes: OrderedDict[str, int] = OrderedDict()  # the least recently used first
        self._verified: set[str] = set()  # since this process started
        self._users: Counter[str] = Counter()
        self._fetching: dict[str, asyncio.Lock] = {}
        self._of_builds: dict[UUID, Layer | None] = {}

    async def open(self) -> None:
        """Claim a folder, and keep the layers that an earlier process left there. Raises LayerError."""
        try:
            self.folder, self._lock = await EXECUTOR.run(_claim, self._parent)
            self._sizes = await EXECUTOR.run(_found_in, self.folder)
        except OSError as error:
            raise LayerError(
                f"The packages of functions cannot be kept in {self._parent}: {error.strerror}. Let the listener "
                "write there (in a container, mount a volume that is not read-only), or set ZMESH_LAYERS_DIR."
            ) from error
        await EXECUTOR.run(platform_of, "node")

    def close(self) -> None:
        """Release the folder to other processes."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    @asynccontextmanager
    async def of_build(self, project_id: UUID, build: UUID | None, runtime: str) -> AsyncIterator[Layer | None]:
        """The layer of a build, which stays on disk during the block; None where the code needs no packages.

        Raises LayerError, psycopg.Error.
        """
        layer = None if build is None else await self._layer_of(project_id, build)
        if layer is None:
            yield None
            return
        if layer.platform != (here := platform_of(runtime)):
            raise LayerError(
                f"The packages were built for {layer.platform}, and this listener runs {here}. Run listeners of one "
                "platform only, or deploy again with fresh packages: zmesh functions deploy --fresh-packages."
            )
        async with self.held(project_id, layer):
            yield layer

    @asynccontextmanager
    async def held(self, project_id: UUID, layer: Layer) -> AsyncIterator[None]:
        """Keep a layer on disk during the block. Raises LayerError, psycopg.Error."""
        self._users[layer.hash] += 1
        try:
            await self._present(project_id, layer)
            yield
        finally:
            self._users[layer.hash] -= 1
            await self._make_room()

    def image_of(self, project_id: UUID, layer: Layer, preload: Preload) -> Image:
        """A layer that is held, as runs use it."""
        return Image(layer.hash, self.path_of(layer), preload, str(project_id))

    async def load_packages(self, sandbox: Sandbox) -> None:
        """After a start: have what functions import of the layers on disk loaded, before they are called."""
        with suppress(*DATABASE_ERRORS, LayerError, SandboxError, OSError):
            async with self._pool.connection() as connection:
                found = await builds.layers_to_load(connection, list(self._sizes), MOST_LOADED)
            for layer in found:
                if layer.platform == platform_of(layer.runtime):
                    async with self.held(layer.project_id, layer):
                        image = self.image_of(layer.project_id, layer, Preload(tuple(layer.names)))
                        sandbox.load_packages(image, layer.runtime, layer.memory_mb, layer.network)

    def path_of(self, layer: Layer) -> Path:
        """The folder of a layer that is in use."""
        return self.folder / layer.hash

    @asynccontextmanager
    async def staging(self) -> AsyncIterator[Path]:
        """A new folder beside the layers, removed when the block ends."""
        place = self.folder / f"{STAGING}{secrets.token_hex(8)}"
        await EXECUTOR.run(_make_staging, place)
        try:
            yield place
        finally:
            await EXECUTOR.run(_remove, place)

    async def add(self, unpacked: Path, layer: Layer) -> None:
        """Store a layer that was built here, so that it need not be fetched."""
        if layer.hash not in self._sizes:
            await self._move_in(unpacked, layer)
            await self._make_room()

    @asynccontextmanager
    async def kept(self, unpacked: Path, layer: Layer) -> AsyncIterator[Path]:
        """A layer that was just made here, in its place on disk during the block."""
        self._users[layer.hash] += 1
        try:
            await self.add(unpacked, layer)
            yield self.path_of(layer)
        finally:
            self._users[layer.hash] -= 1
            await self._make_room()

    async def _layer_of(self, project_id: UUID, build: UUID) -> Layer | None:
        if build not in self._of_builds:
            async with self._pool.connection() as connection:
                layer = await builds.layer_of(connection, project_id, build)
            if len(self._of_builds) >= MOST_REMEMBERED:
                self._of_builds.clear()
            self._of_builds[build] = layer
        return self._of_builds[build]

    async def _present(self, project_id: UUID, layer: Layer) -> None:
        """Ensure that it is on disk, as it was built."""
        async with self._fetching.setdefault(layer.hash, asyncio.Lock()):
            if layer.hash in self._sizes and not await self._is_intact(layer.hash):
                del self._sizes[layer.hash]
                await EXECUTOR.run(_remove, self.folder / layer.hash)
            if layer.hash not in self._sizes:
                await self._fetch(project_id, layer)
            self._sizes.move_to_end(layer.hash)

    async def _is_intact(self, hash: str) -> bool:
        """Whether a layer left by an earlier process is intact; one of this process only has to exist."""
        if not (self.folder / hash).is_dir():  # removed, by a cleaner of temporary files for example
            self._verified.discard(hash)
        elif hash not in self._verified and await EXECUTOR.run(_hash_or_none, self.folder / hash) == hash:
            self._verified.add(hash)
        return hash in self._verified

    async def _fetch(self, project_id: UUID, layer: Layer) -> None:
        async with self.staging() as staging:
            await self._download(project_id, layer, staging / "archive")
            try:
                contents = await EXECUTOR.run(unpack_file, staging / "archive", staging / "layer")
            except ArchiveError as error:
                raise LayerError(f"The packages in the database are damaged: {error}. Deploy again.") from error
            if contents.hash != layer.hash:
                raise LayerError("The packages in the database are not the ones that were built. Deploy again.")
            await self._move_in(staging / "layer", layer)

    async def _download(self, project_id: UUID, layer: Layer, place: Path) -> None:
        file = await EXECUTOR.run(open, place, "wb")
        try:
            number = 0
            while number * CHUNK < layer.bytes:
                async with self._pool.connection() as connection:
                    data = await builds.chunk(connection, project_id, layer.hash, number)
                if data is None:
                    raise LayerError("The packages are not in the database any more. Deploy again.")
                await EXECUTOR.run(append_chunk, file, data)
                number += 1
        finally:
            await EXECUTOR.run(file.close)

    async def _move_in(self, unpacked: Path, layer: Layer) -> None:
        size = await EXECUTOR.run(_size_on_disk, unpacked)
        await EXECUTOR.run(_rename, unpacked, self.folder / layer.hash)  # replaces a damaged one
        self._sizes[layer.hash] = size
        self._verified.add(layer.hash)

    async def _make_room(self) -> None:
        """Evict the least recently used layers until the rest fit. Layers in use stay."""
        for hash in [hash for hash in self._sizes if not self._users[hash]]:
            if sum(self._sizes.values()) <= self._most_bytes:
                break
            if self._users[hash] or hash not in self._sizes:
                continue  # since the last removal
            del self._sizes[hash]
            self._verified.discard(hash)
            self._fetching.pop(hash, None)
            doomed = self.folder / f"{STAGING}{secrets.token_hex(8)}"
            os.rename(self.folder / hash, doomed)
            await EXECUTOR.run(_remove, doomed)
        for hash in [hash for hash, users in self._users.items() if users <= 0]:
            del self._users[hash]


def compressed(data: bytes) -> bytes:
    """A chunk as the database holds it."""
    return zlib.compress(data, 6)


def unpack_file(archive: Path, folder: Path, runtime: str | None = None, skipped: int = 0) -> archives.Contents:
    """Unpack an archive that begins after so many bytes of a file into a new folder. Raises ArchiveError."""
    folder.mkdir()
    folder.chmod(0o755)
    with open(archive, "rb") as file:
        file.seek(skipped)
        return archives.unpack(file, folder, runtime)


def append_chunk(file: BinaryIO, chunk: bytes) -> None:
    """Write a chunk, decompressed. Raises LayerError."""
    inflate = zlib.decompressobj()
    try:
        data = inflate.decompress(chunk, CHUNK)
    except zlib.error as error:
        raise LayerError(f"The packages in the database are damaged: {error}. Deploy again.") from error
    if inflate.unconsumed_tail:
        raise LayerError("The packages in the database are damaged: a chunk is too large. Deploy again.")
    file.write(data)


def _claim(parent: Path) -> tuple[Path, int]:
    """A folder not used by another listener, and its lock. Raises LayerError."""
    parent.mkdir(0o711, parents=True, exist_ok=True)
    found = parent.lstat()
    if found.st_uid != os.geteuid() or not stat.S_ISDIR(found.st_mode):
        raise LayerError(f"{parent} is not a folder of the listener's own: set ZMESH_LAYERS_DIR to one.")
    parent.chmod(0o711)
    for number in range(MOST_LISTENERS):
        lock = os.open(parent / f"{number}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            continue
        folder = parent / str(number)
        folder.mkdir(exist_ok=True)
        folder.chmod(0o711)
        return folder, lock
    raise LayerError(f"{MOST_LISTENERS} listeners use {parent}: set ZMESH_LAYERS_DIR to another folder.")


def _make_staging(place: Path) -> None:
    place.parent.mkdir(0o711, parents=True, exist_ok=True)
    place.mkdir(0o700)


def _found_in(folder: Path) -> OrderedDict[str, int]:
    """The layers in a folder with their sizes, least recently used first. Removes unfinished ones."""
    layers: list[tuple[float, str, int]] = []
    for place in folder.iterdir():
        if place.name.startswith(STAGING):
            _remove(place)
        elif place.is_dir() and not place.is_symlink():
            layers.append((place.stat().st_mtime, place.name, _size_on_disk(place)))
    return OrderedDict((name, size) for _, name, size in sorted(layers))


def _size_on_disk(folder: Path) -> int:
    """What the files and folders in it take: much more than their bytes where many are small."""
    return sum(place.lstat().st_blocks * 512 for place in folder.rglob("*"))


def _hash_or_none(folder: Path) -> str | None:
    try:
        return archives.hash_of(folder)
    except (ArchiveError, OSError):
        return None


def _rename(unpacked: Path, place: Path) -> None:
    _remove(place)  # a damaged one
    os.rename(unpacked, place)


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def default_folder() -> Path:
    """The default folder for layers: it outlives the process, but perhaps not a reboot."""
    try:
        temporary = tempfile.gettempdir()
    except FileNotFoundError:  # none can be written to, which is said when this one is used
        temporary = "/tmp"
    return Path(temporary) / f"zmesh-layers-{os.geteuid()}"
