"""The packages that a function asks for, and the build that installed them."""

from __future__ import annotations

import hashlib
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any
from uuid import UUID

import msgspec
from psycopg import AsyncConnection

from api.http.problems import Problem, invalid
from api.management.bounded_processes import output_of
from api.management.turns import ProjectTurns
from sql import builds, registries, versions
from sql.catalog import Function
from support.executors import Executor
from support.function_folders import own_folder
from support.locks import ManifestError
from support.manifests import Manifest, is_costly, lock_file, manifest_of, relevant_files, result_of

CODE_FIELDS = frozenset({"language", "code", "entry_file", "files"})
AT_ONCE_OF_A_PROJECT = 1  # of the two processes that read manifests
MOST_OF_A_PROJECT = 16  # of which the others wait: pipelines deploy several functions at once
_READING = Executor("manifests", 2, most_waiting=100)  # those that are quick to read
_READING_APART = Executor("processes that read manifests", 2, most_waiting=100)
_TURNS = ProjectTurns("too_many_manifests", "manifests", at_once=AT_ONCE_OF_A_PROJECT, most=MOST_OF_A_PROJECT)
_READER = [sys.executable, "-I", "-m", "support.manifests"]
_SECONDS = 20.0  # of a process that may have to wait for a processor
_REMEMBERED = 16
_known: OrderedDict[bytes, Manifest | None] = OrderedDict()  # what processes have read: a deployment asks twice


async def find_manifest(
    project_id: UUID,
    language: str,
    code: str,
    files: Mapping[str, Any] | msgspec.Raw,
    entry_file: str | None = None,
) -> Manifest | None:
    """The manifest of a function; None where it asks for no package. Raises Problem."""
    try:
        return await _read(project_id, partial(_manifest, language, code, files, entry_file))
    except ManifestError as error:
        has_files = entry_file is not None if isinstance(files, msgspec.Raw) else bool(files)
        raise invalid("files" if has_files else "code", str(error)) from error


async def find_locked(
    project_id: UUID, manifest: Manifest, language: str, code: str, files: Mapping[str, Any], lock: str
) -> Manifest:
    """What to install of this manifest, by the lock of another build of it. Raises Problem."""
    if manifest.lock is not None:
        raise invalid("lock", f"cannot be combined with {manifest.lock}, which is among the files")
    try:
        locked = await _read(project_id, partial(_locked, manifest, language, code, files, lock))
    except ManifestError as error:
        raise invalid("lock", str(error)) from error
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise invalid("lock", "is not the lock of a build") from error
    assert locked is not None  # it has the requirements of the manifest
    return locked


async def _read(project_id: UUID, find: Callable[[], Manifest | bytes | None]) -> Manifest | None:
    """What `find` returns or, if that is a request to a process, the answer to it, once it is the project's turn."""
    found = await _READING.run(find)
    if not isinstance(found, bytes):
        return found
    async with _TURNS.turn(project_id):
        return await _READING_APART.run(_read_apart, found)


def _locked(
    manifest: Manifest, language: str, code: str, files: Mapping[str, Any], lock: str
) -> Manifest | bytes | None:
    name, text = lock_file(manifest, files, lock)
    return _manifest(language, code, {**files, name: text}, None)


def _manifest(
    language: str, code: str, files: Mapping[str, Any] | msgspec.Raw, entry_file: str | None
) -> Manifest | bytes | None:
    """The manifest, or the request to the process that has to read it. Raises ManifestError."""
    beside = msgspec.json.decode(files) if isinstance(files, msgspec.Raw) else files
    own = own_folder(entry_file or "", beside)
    beside = {path.removeprefix(own): content for path, content in beside.items()}
    if not is_costly(language, code, beside):
        return manifest_of(language, code, beside)
    request = msgspec.json.encode([language, code, relevant_files(language, beside)])
    return _known.get(hashlib.sha256(request).digest(), request)


def _read_apart(request: bytes) -> Manifest | None:
    """In a process of its own: TOML and locks can be written so that reading them takes hours. Raises ManifestError."""
    key = hashlib.sha256(request).digest()
    with suppress(KeyError):  # read while this request waited; the other thread may forget it at any time
        return _known[key]
    output = output_of(_READER, request, _SECONDS)
    if output is None:
        raise ManifestError("the manifest or its lock takes too long to read, or too much memory")
    manifest = _known[key] = result_of(output)
    while len(_known) > _REMEMBERED:
        _known.popitem(last=False)
    return manifest


async def key_of(connection: AsyncConnection, project_id: UUID, manifest: Manifest) -> str:
    """Equal where a build of this project would install the same: it also depends on where packages come from."""
    rules = await registries.build_rules(connection, project_id, manifest.runtime)
    return hashlib.sha256(f"{manifest.hash}\n{rules}".encode()).hexdigest() if rules else manifest.hash


async def build_of(connection: AsyncConnection, project_id: UUID, function: Mapping[str, Any]) -> UUID | None:
    """The build whose packages a function with this language, code and files runs with; None where it needs none.

    Raises Problem where they have not been built yet.
    """
    manifest = await find_manifest(
        project_id, function["language"], function["code"], function.get("files", {}), function.get("entry_file")
    )
    if manifest is None:
        return None
    build = await builds.last_success(connection, project_id, await key_of(connection, project_id, manifest))
    if build is None:
        raise Problem(
            409,
            "packages_not_built",
            f"The packages of {manifest.source} have not been built.",
            "Build them first with POST /builds and the same language, code and files, as zmesh functions deploy does.",
        )
    return build


async def build_of_changed(connection: AsyncConnection, function: Function, changes: Mapping[str, Any]) -> UUID | None:
    """The same after these changes of a function. Raises Problem."""
    wanted = {**{field: getattr(function, field) for field in CODE_FIELDS}, **changes}
    if wanted["files"] is None:
        content = await versions.files_of(connection, function.id, function.version)
        wanted["files"] = msgspec.Raw(content.encode())
    return await build_of(connection, function.project_id, wanted)
