"""The packages that a function asks for, and the build that installed them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from api.http.problems import Problem, invalid
from sql import builds
from support.executors import Busy, Executor
from support.manifests import Manifest, ManifestError, manifest_of

CODE_FIELDS = frozenset({"language", "code", "files"})
_EXECUTOR = Executor("manifests", 2, most_waiting=100)


async def find_manifest(language: str, code: str, files: Mapping[str, Any]) -> Manifest | None:
    """The manifest of a function; None where it asks for no package. Raises Problem."""
    try:
        return await _EXECUTOR.run(manifest_of, language, code, files)
    except ManifestError as error:
        raise invalid("files" if files else "code", str(error)) from error
    except Busy as error:
        raise Problem(503, "busy", "Too many manifests are being read.", "Try again in a moment.") from error


async def build_of(connection: AsyncConnection, project_id: UUID, function: Mapping[str, Any]) -> UUID | None:
    """The build whose packages a function with this language, code and files runs with; None where it needs none.

    Raises Problem where they have not been built yet.
    """
    manifest = await find_manifest(function["language"], function["code"], function.get("files") or {})
    if manifest is None:
        return None
    build = await builds.last_success(connection, project_id, manifest.hash)
    if build is None:
        raise Problem(
            409,
            "packages_not_built",
            f"The packages of {manifest.source} have not been built.",
            "Build them first by POST /builds with the same language, code and files; zmesh functions deploy does so.",
        )
    return build


def as_mapping(function: object) -> dict[str, Any]:
    """The fields of a function that say which packages it needs."""
    return {field: getattr(function, field) for field in CODE_FIELDS if hasattr(function, field)}
