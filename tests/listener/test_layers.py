"""Layers on a listener's disk: fetched once, verified, kept while there is room, and never believed."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import shutil
import stat
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest

from listener import archives
from listener.imports import Imports
from listener.layers import LayerError, Layers
from listener.main import connection_pool
from listener.platforms import platform_of
from sandbox import Image, Preload
from sql.listeners import ClaimedInvocation
from tests.databases import Database, TestProject

MIB = 1024 * 1024


def archive_of(name: str, content: bytes) -> bytes:
    path = b"python/" + name.encode()
    return len(path).to_bytes(2) + b"\0" + len(content).to_bytes(8) + path + content


@dataclass
class Shelf:
    """Layers of a project in the database, and a folder for them."""

    database: Database
    project: TestProject
    folder: Path

    def build(self, archive: bytes, platform: str | None = None) -> UUID:
        """A build that has made this layer."""
        hash, database = hashlib.sha256(archive).hexdigest(), self.database
        values = (self.project.id, hash, platform or platform_of("python"), len(archive))
        database.rows("insert into zmesh.layers values (%s, %s, %s, %s, 1, now()) on conflict do nothing", *values)
        for number, start in enumerate(range(0, len(archive), MIB)):
            query = "insert into zmesh.layer_chunks values (%s, %s, %s, %b) on conflict do nothing"
            database.rows(query, self.project.id, hash, number, zlib.compress(archive[start : start + MIB]))
        query = """insert into zmesh.builds (project_id, created_at, finished_at, status, runtime, manifest_hash,
                                             manifest, layer_hash)
                   values (%s, now(), now(), 'succeeded', 'python', %s, '{}', %s) returning id"""
        return UUID(str(database.value(query, self.project.id, hash, hash)))

    @asynccontextmanager
    async def layers(self, most_mb: int = 100) -> AsyncIterator[Layers]:
        async with connection_pool(self.database.listener_url) as pool:
            layers = Layers(pool, self.folder, most_mb * MIB)
            await layers.open()
            try:
                yield layers
            finally:
                layers.close()

    async def read(self, layers: Layers, build: UUID, name: str = "a.py") -> bytes:
        async with layers.of_build(self.project.id, build, "python") as layer:
            assert layer is not None
            return (layers.path_of(layer) / "python" / name).read_bytes()


@pytest.fixture
def shelf(database: Database, tmp_path: Path) -> Shelf:
    return Shelf(database, database.project(), tmp_path / "layers")


def chunks_read(shelf: Shelf) -> Callable[[], int]:
    query = "select coalesce(sum(calls), 0)::int from pg_stat_statements where query like 'select zmesh.layer_chunk(%%'"
    before = shelf.database.value(query)
    return lambda: shelf.database.value(query) - before


async def test_a_layer_is_fetched_once_by_many_runs_and_kept_over_a_restart(shelf: Shelf) -> None:
    content = os.urandom(MIB) + b"end"
    build = shelf.build(archive_of("a.py", content))
    shelf.database.rows("create extension if not exists pg_stat_statements")
    read = chunks_read(shelf)
    async with shelf.layers() as layers:
        assert await asyncio.gather(*(shelf.read(layers, build) for _ in range(5))) == [content] * 5
    async with shelf.layers() as layers:
        assert await shelf.read(layers, build) == content
    assert read() == 2  # its chunks


async def test_what_was_changed_on_disk_is_fetched_again(shelf: Shelf) -> None:
    build = shelf.build(archive_of("a.py", b"1"))
    async with shelf.layers() as layers, layers.of_build(shelf.project.id, build, "python") as layer:
        assert layer is not None
        place = layers.path_of(layer) / "python"
    for change in (
        lambda: ((place / "a.py").chmod(0o600), (place / "a.py").write_bytes(b"2")),
        lambda: (place / "more.py").write_bytes(b""),
        lambda: (place / "a.py").chmod(0o755),
        lambda: (place / "a.py").unlink(),
        lambda: (place / "link").symlink_to("/etc/passwd"),
    ):
        change()
        async with shelf.layers() as layers:
            assert await shelf.read(layers, build) == b"1"
        assert [file.name for file in place.iterdir()] == ["a.py"]


@pytest.mark.parametrize("removed", ["layer", "folder", "parent"])
async def test_what_was_removed_while_the_listener_works_is_fetched_again(shelf: Shelf, removed: str) -> None:
    build, other = shelf.build(archive_of("a.py", b"1")), shelf.build(archive_of("a.py", b"2"))
    async with shelf.layers() as layers:
        async with layers.of_build(shelf.project.id, build, "python") as layer:
            assert layer is not None
        shutil.rmtree({"layer": layers.path_of(layer), "folder": layers.folder, "parent": shelf.folder}[removed])
        assert await shelf.read(layers, build) == b"1"
        assert await shelf.read(layers, other) == b"2"


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        ("update zmesh.layer_chunks set data = 'nothing'", "are damaged"),
        ("update zmesh.layer_chunks set data = %b", "not the ones that were built"),
        ("delete from zmesh.layer_chunks", "not in the database any more"),
        ("update zmesh.layer_chunks set data = %b || '' where %b is not null", "a chunk is too large"),
    ],
)
async def test_what_was_changed_in_the_database_is_refused(shelf: Shelf, damage: str, reason: str) -> None:
    build = shelf.build(archive_of("a.py", b"1"))
    other = zlib.compress(archive_of("a.py", b"2") if "too large" not in reason else bytes(40 * MIB))
    shelf.database.rows(damage, *[other] * damage.count("%b"))
    async with shelf.layers() as layers:
        with pytest.raises(LayerError, match=reason):
            await shelf.read(layers, build)
        assert list(layers.folder.iterdir()) == []


async def test_the_least_recently_used_make_room_and_one_in_use_stays(shelf: Shelf) -> None:
    builds = [shelf.build(archive_of("a.py", bytes([number]) * MIB)) for number in range(4)]
    async with shelf.layers(most_mb=2) as layers:
        async with layers.of_build(shelf.project.id, builds[0], "python") as first:
            assert first is not None
            for build in builds[1:]:
                await shelf.read(layers, build)
            assert (layers.path_of(first) / "python" / "a.py").exists()
            assert len(list(layers.folder.iterdir())) == 1
        await shelf.read(layers, builds[3])
        assert not layers.path_of(first).exists()


async def test_layers_of_another_platform_are_refused_by_name(shelf: Shelf) -> None:
    build = shelf.build(archive_of("a.py", b"1"), platform="cpython-312-aarch64-linux-gnu")
    async with shelf.layers() as layers:
        with pytest.raises(LayerError, match="were built for cpython-312-aarch64-linux-gnu, and this listener runs"):
            await shelf.read(layers, build)


async def test_a_layer_is_not_found_by_another_project(shelf: Shelf) -> None:
    build = shelf.build(archive_of("a.py", b"1"))
    other = shelf.database.project("other").id
    async with shelf.layers() as layers, layers.of_build(other, build, "python") as layer:
        assert layer is None


async def test_listeners_that_share_a_folder_have_one_each(shelf: Shelf) -> None:
    async with shelf.layers() as one, shelf.layers() as other:
        assert one.folder != other.folder
    async with shelf.layers() as next_one:
        assert next_one.folder == one.folder


async def test_the_users_of_runs_may_read_a_layer_whatever_our_umask_is(shelf: Shelf) -> None:
    build = shelf.build(archive_of("package/deep/a.py", b"1"))
    before = os.umask(0o077)
    try:
        async with shelf.layers() as layers, layers.of_build(shelf.project.id, build, "python") as layer:
            assert layer is not None
            file = layers.path_of(layer) / "python/package/deep/a.py"
            assert archives.hash_of(layers.path_of(layer)) == layer.hash
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o444
    assert all(stat.S_IMODE(folder.stat().st_mode) & 0o011 for folder in list(file.parents)[:6])


async def test_a_folder_of_somebody_else_is_not_used(shelf: Shelf, tmp_path: Path) -> None:
    shelf.folder.symlink_to(tmp_path)
    with pytest.raises(LayerError, match="not a folder of the listener's own"):
        async with shelf.layers():
            pass


async def test_a_folder_that_cannot_be_written_is_named(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a volume that is mounted read-only."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "chmod", refuse)
    with pytest.raises(LayerError, match=r"cannot be kept in .*: Read-only file system.*set ZMESH_LAYERS_DIR"):
        async with shelf.layers():
            pass


class Loading:
    """Stands for the sandbox: what it is asked to load."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []

    def load_packages(self, image: Image, runtime: str, memory_mb: int, network: str) -> None:
        assert (image.path / "python" / "a.py").exists()
        self.asked.append((image.project, image.id, image.preload, runtime, memory_mb, network))


def invocation_of(function: UUID, version: int, *preload: str) -> ClaimedInvocation:
    """As far as it matters to what is imported."""
    found = SimpleNamespace(function_id=function, version=version, preload=list(preload))
    return cast(ClaimedInvocation, found)


async def test_what_the_runs_of_a_function_import_is_loaded_by_every_listener_that_starts(shelf: Shelf) -> None:
    build = shelf.build(archive_of("a.py", b"x = 1"))
    project, settings = (
        shelf.project,
        cast(Any, {"language": "python", "build_id": build, "memory_mb": 128, "network": "none"}),
    )
    one = shelf.database.function(project, "one", code="x", **settings)
    shelf.database.function(project, "two", code="x", **settings, preload=["b"])
    three = shelf.database.function(project, "three", code="x", **settings)
    loading = Loading()
    async with shelf.layers() as layers, layers.of_build(project.id, build, "python") as layer:
        assert layer is not None
        imports = Imports(layers._pool)
        assert await imports.of(invocation_of(one, 1), layer) == Preload((), str(one))
        await imports.learn(invocation_of(one, 1), layer, ["a"])
        await imports.learn(invocation_of(one, 1), layer, ["b"])  # of a run that began before it was known
        await imports.learn(invocation_of(one, -1), layer, ["c"])  # of a draft
        await Imports(layers._pool).learn(invocation_of(one, 1), layer, ["d"])  # of a listener that did not know
    async with shelf.layers() as layers:
        await layers.load_packages(loading)  # type: ignore[arg-type]
        async with layers.of_build(project.id, build, "python") as layer:
            assert layer is not None
            imports = Imports(layers._pool)
            assert await imports.of(invocation_of(one, 1), layer) == Preload(("a",), str(one))
            assert await imports.of(invocation_of(one, 1, "c"), layer) == Preload(("c",))
            assert await imports.of(invocation_of(three, 1), layer) == Preload((), str(three))
            assert await imports.of(invocation_of(one, 2), layer) == Preload(("a",), str(one), learn=True)
            await imports.learn(invocation_of(one, 2), layer, ["a", "b"])
            assert await Imports(layers._pool).of(invocation_of(one, 2), layer) == Preload(("a", "b"), str(one))
    expected = [(str(project.id), layer.hash, Preload((name,)), "python", 128, "none") for name in ("a", "b")]
    assert sorted(loading.asked, key=str) == expected
