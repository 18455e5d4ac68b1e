"""Builds of packages, and the layers that they create."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from sql.errors import translated
from sql.rows import fetch_all, fetch_one, fetch_value

BUILDS_CHANNEL = "zmesh_builds"
_SUMMARY = """
    select b.id, b.status, b.runtime, b.created_at, b.started_at, b.finished_at, b.attempts, b.error,
           jsonb_array_length(b.packages) as package_count, l.platform, l.bytes as layer_bytes"""
_DETAILS = f"""{_SUMMARY},
           b.project_id, b.manifest_hash, b.manifest, b.lock, b.packages, b.layer_hash"""
_FROM_BUILDS = """
      from zmesh.builds b
      left join zmesh.layers l on l.project_id = b.project_id and l.hash = b.layer_hash"""


@dataclass(frozen=True, slots=True)
class BuildSummary:
    """A build without what may be large: its manifest, its lock, and its packages, which are only counted."""

    id: UUID
    status: str
    runtime: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    attempts: int
    error: dict[str, str] | None
    package_count: int
    platform: str | None
    layer_bytes: int | None


@dataclass(frozen=True, slots=True)
class Build(BuildSummary):
    """A build, and what it has made so far."""

    project_id: UUID
    manifest_hash: str
    manifest: dict[str, str]
    lock: str | None
    packages: list[dict[str, str]]
    layer_hash: str | None


@dataclass(frozen=True, slots=True)
class BuildLogLine:
    """A line that a build printed."""

    line: int
    at: datetime
    message: str


@dataclass(frozen=True, slots=True)
class ClaimedBuild:
    """A build that a listener has to run."""

    id: UUID
    project_id: UUID
    runtime: str
    manifest: dict[str, str]
    bundle: str | None
    attempts: int


@dataclass(frozen=True, slots=True)
class Layer:
    """What a listener needs to know about a layer before fetching it; `bytes` before compression."""

    hash: str
    platform: str
    bytes: int


@dataclass(frozen=True, slots=True)
class LayerInUse(Layer):
    """With how a function of this project uses it, and which `names` of it are imported beforehand."""

    project_id: UUID = field(kw_only=True)
    runtime: Literal["python", "node"] = field(kw_only=True)
    memory_mb: int = field(kw_only=True)
    network: Literal["open", "none"] = field(kw_only=True)
    names: list[str] = field(kw_only=True)


@dataclass(frozen=True, slots=True)
class FunctionImports:
    """Which packages of a layer a version of a function was seen to import."""

    version: int
    names: list[str]


# What the API asks


async def request(
    connection: AsyncConnection,
    project_id: UUID,
    runtime: str,
    manifest_hash: str,
    manifest: Mapping[str, str],
    *,
    fresh: bool,
    bundle: str | None = None,
) -> UUID:
    """The build of this manifest, and bundle: one that is unfinished, or the last that succeeded, or a new one."""
    query = "select (zmesh.request_build(%s, %s, %s, %s, %s, %s)).id"
    values = (project_id, runtime, manifest_hash, Jsonb(dict(manifest)), fresh, bundle)
    return UUID(str(await fetch_value(connection, query, values)))


async def find_build(connection: AsyncConnection, project_id: UUID, id: UUID) -> Build | None:
    """One build of a project."""
    return await fetch_one(
        connection, Build, f"{_DETAILS} {_FROM_BUILDS} where b.project_id = %s and b.id = %s", (project_id, id)
    )


async def list_builds(
    connection: AsyncConnection, project_id: UUID, before: tuple[datetime, UUID] | None, limit: int
) -> list[BuildSummary]:
    """The builds of a project, newest first, from before this one on."""
    created_at, id = before or (None, None)
    return await fetch_all(
        connection,
        BuildSummary,
        f"""{_SUMMARY} {_FROM_BUILDS} where b.project_id = %(project)s
               and (%(at)s::timestamptz is null or (b.created_at, b.id) < (%(at)s, %(id)s::uuid))
             order by b.created_at desc, b.id desc limit %(limit)s""",
        {"project": project_id, "at": created_at, "id": id, "limit": limit},
    )


async def build_logs(connection: AsyncConnection, build_id: UUID, after: int, limit: int) -> list[BuildLogLine]:
    """What a build printed after this line."""
    query = "select line, at, message from zmesh.build_logs where build_id = %s and line > %s order by line limit %s"
    return await fetch_all(connection, BuildLogLine, query, (build_id, after, limit))


async def last_success(connection: AsyncConnection, project_id: UUID, manifest_hash: str) -> UUID | None:
    """The last build of this manifest that succeeded."""
    query = """
        select (select id from zmesh.builds
                 where project_id = %s and manifest_hash = %s and status = 'succeeded'
                 order by created_at desc limit 1)"""
    found: UUID | None = await fetch_value(connection, query, (project_id, manifest_hash))
    return found


async def packages_of(connection: AsyncConnection, project_id: UUID, id: UUID) -> list[dict[str, str]]:
    """Name, version and hash of each package that a build installed."""
    query = "select coalesce((select packages from zmesh.builds where project_id = %s and id = %s), '[]')"
    packages: list[dict[str, str]] = await fetch_value(connection, query, (project_id, id))
    return packages


async def add_bundle_chunk(connection: AsyncConnection, project_id: UUID, hash: str, number: int, data: bytes) -> None:
    """Keep a chunk of a bundle for a build."""
    await connection.execute("select zmesh.add_bundle_chunk(%s, %s, %s, %b)", (project_id, hash, number, data))


async def bundle_chunks(connection: AsyncConnection, project_id: UUID, hash: str) -> int:
    """How many chunks of a bundle there are, from the first on."""
    query = "select count(*) from zmesh.bundle_chunks where project_id = %s and hash = %s"
    return int(await fetch_value(connection, query, (project_id, hash)))


async def cancel(connection: AsyncConnection, project_id: UUID, id: UUID) -> None:
    """Cancel a queued build, have a running one stopped."""
    await connection.execute("select zmesh.cancel_build(%s, %s)", (project_id, id))


# What a listener asks


async def claim(connection: AsyncConnection, listener: UUID) -> ClaimedBuild | None:
    """Start a queued build, if there is one."""
    query = "select id, project_id, runtime, manifest, bundle, attempts from zmesh.claim_build(%s)"
    return await fetch_one(connection, ClaimedBuild, query, (listener,))


async def tell(
    connection: AsyncConnection, listener: UUID, build: UUID, lines: Sequence[tuple[int, datetime, str]]
) -> bool:
    """Write what the build printed; whether it should go on."""
    numbers, times, messages = ([line[field] for line in lines] for field in range(3))
    query = "select zmesh.tell_build(%s, %s, %s::integer[], %s::timestamptz[], %s::text[])"
    return bool(await fetch_value(connection, query, (listener, build, numbers, times, messages)))


async def add_layer(connection: AsyncConnection, listener: UUID, build: UUID, layer: Layer, files: int) -> bool:
    """Make a layer; whether its chunks are to be added. Raises LeaseLost where the build belongs to another."""
    query = "select zmesh.add_layer(%s, %s, %s, %s, %s, %s)"
    with translated():
        values = (listener, build, layer.hash, layer.platform, layer.bytes, files)
        return bool(await fetch_value(connection, query, values))


async def add_chunk(
    connection: AsyncConnection, listener: UUID, build: UUID, hash: str, number: int, data: bytes
) -> None:
    """Add the next chunk of a layer."""
    query = "select zmesh.add_layer_chunk(%s, %s, %s, %s, %b)"
    await connection.execute(query, (listener, build, hash, number, data))


async def finish(
    connection: AsyncConnection,
    listener: UUID,
    build: UUID,
    status: str,
    *,
    lock: str | None = None,
    packages: Sequence[Mapping[str, str]] | None = None,
    layer: str | None = None,
    error: Mapping[str, Any] | None = None,
) -> bool:
    """End a build; whether it was this listener's."""
    values = (
        *(listener, build, status, lock, None if packages is None else Jsonb(list(packages)), layer),
        None if error is None else Jsonb(dict(error)),
    )
    return bool(await fetch_value(connection, "select zmesh.finish_build(%s, %s, %s, %s, %s, %s, %s)", values))


async def requeue(connection: AsyncConnection, listener: UUID, build: UUID, type: str, why: str) -> str | None:
    """End an attempt that was interrupted; returns the status of the build, or None if it was deleted. Changes nothing
    unless this listener runs the build."""
    status: str | None = await fetch_value(
        connection, "select zmesh.requeue_build(%s, %s, %s, %s)", (listener, build, type, why)
    )
    return status


async def bundle_chunk(connection: AsyncConnection, listener: UUID, build: UUID, number: int) -> bytes | None:
    """One chunk of the bundle of a build that this listener runs; None after the last."""
    query = "select zmesh.bundle_chunk(%s, %s, %s)"
    cursor = await connection.execute(query, (listener, build, number), binary=True)
    row = await cursor.fetchone()
    assert row is not None
    return row[0]  # type: ignore[no-any-return]


async def layer_of(connection: AsyncConnection, project_id: UUID, build: UUID) -> Layer | None:
    """The layer that a build has made; None where it needed no packages."""
    query = "select hash, platform, bytes from zmesh.layer_of(%s, %s)"
    return await fetch_one(connection, Layer, query, (project_id, build))


async def imports_of(connection: AsyncConnection, function_id: UUID, hash: str) -> FunctionImports | None:
    """Which packages of a layer a function imports, if that is known."""
    query = "select version, names from zmesh.imports_of(%s, %s)"
    return await fetch_one(connection, FunctionImports, query, (function_id, hash))


async def learn_imports(connection: AsyncConnection, function_id: UUID, hash: str, seen: FunctionImports) -> None:
    """Store what a run has imported of a layer, unless that is known of its version or a later one."""
    values = (function_id, hash, seen.version, seen.names)
    await connection.execute("select zmesh.learn_imports(%s, %s, %s, %s)", values)


async def tell_fork_refusal(
    connection: AsyncConnection, listener: UUID, function_id: UUID, hash: str, reason: str | None
) -> None:
    """Store why this listener cannot fork the function's runs with this layer; None: it can."""
    await connection.execute("select zmesh.tell_fork_refusal(%s, %s, %s, %s)", (listener, function_id, hash, reason))


async def layers_to_load(connection: AsyncConnection, hashes: Sequence[str], most: int) -> list[LayerInUse]:
    """Those of these layers that functions use now, and of which it is known what to import."""
    query = """select project_id, runtime, memory_mb, network, hash, platform, bytes, names
                 from zmesh.layers_to_load(%s, %s)"""
    return await fetch_all(connection, LayerInUse, query, (list(hashes), most))


async def chunk(connection: AsyncConnection, project_id: UUID, hash: str, number: int) -> bytes | None:
    """One chunk of a layer, as it is stored; None after the last."""
    cursor = await connection.execute("select zmesh.layer_chunk(%s, %s, %s)", (project_id, hash, number), binary=True)
    row = await cursor.fetchone()
    assert row is not None
    return row[0]  # type: ignore[no-any-return]
