"""Functions, as people manage them. Their versions: versions.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from sql.rows import fetch_all, fetch_one, fetch_value

# What people set; everything else the database fills in.
SETTINGS = (
    *(
        "name",
        "language",
        "entry_point",
        "code",
        "entry_file",
        "style",
        "init",
        "preload",
        "files",
        "timeout_ms",
        "memory_mb",
        "env_vars",
        "network",
        "enabled",
    ),
    *("description", "tags", "auth", "methods", "cors_origins", "anonymous_options", "key_options", "public_errors"),
    *("max_attempts", "retry_base_ms", "retry_max_ms", "max_concurrency", "max_concurrency_per_key", "build_id"),
)
# Without the content of files, which may be large: see read_files().
COLUMNS = (
    f"id, project_id, slug, {', '.join(name for name in SETTINGS if name != 'files')}, file_sizes,"
    " version, revision, created_at, updated_at"
)
# Both ways to name a function in a URL: its id or its slug.
NAMED = "project_id = %(project_id)s and (id = %(id)s or slug = %(slug)s)"


@dataclass(frozen=True, slots=True)
class Function:
    """A function with its current code. `file_sizes` has every file of a folder, the entry file included, in bytes;
    for their content see read_files()."""

    id: UUID
    project_id: UUID
    name: str
    slug: str
    language: str
    entry_point: str
    code: str
    entry_file: str | None
    style: str | None
    init: str | None
    preload: list[str]
    file_sizes: dict[str, int]
    timeout_ms: int
    memory_mb: int
    env_vars: dict[str, str]
    network: str
    enabled: bool
    description: str
    tags: list[str]
    auth: str
    methods: list[str]
    cors_origins: list[str]
    anonymous_options: list[str]
    key_options: list[str]
    public_errors: bool
    max_attempts: int
    retry_base_ms: int
    retry_max_ms: int
    max_concurrency: int | None
    max_concurrency_per_key: int
    build_id: UUID | None
    version: int
    revision: int
    created_at: datetime
    updated_at: datetime
    not_forked_because: str | None = None

    @property
    def files(self) -> dict[str, str] | None:
        """None: there are some, which were not read."""
        return {} if self.entry_file is None else None


@dataclass(frozen=True, slots=True)
class FunctionName:
    """A function as a URL names it: by id, or by slug within the project."""

    project_id: UUID
    text: str

    @property
    def values(self) -> dict[str, Any]:
        try:
            id = UUID(self.text)
        except ValueError:
            id = None
        return {"project_id": self.project_id, "id": id, "slug": self.text}


async def find_function(connection: AsyncConnection, name: FunctionName) -> Function | None:
    """The function of this name."""
    reason = "zmesh.not_forked_because(id, zmesh.now()) as not_forked_because"
    query = f"select {COLUMNS}, {reason} from zmesh.functions where {NAMED}"
    return await fetch_one(connection, Function, query, name.values)


async def find_by_name(connection: AsyncConnection, project_id: UUID, name: str) -> Function | None:
    """The function of exactly this name."""
    query = f"select {COLUMNS} from zmesh.functions where project_id = %(project_id)s and name = %(name)s"
    return await fetch_one(connection, Function, query, {"project_id": project_id, "name": name})


async def lock_by_name(connection: AsyncConnection, project_id: UUID, name: str) -> Function | None:
    """The function of exactly this name, locked until the transaction ends."""
    return await fetch_one(
        connection, Function, f"select {COLUMNS} from zmesh.function_by_name(%s, %s)", (project_id, name)
    )


async def ids_of_slugs(connection: AsyncConnection, project_id: UUID, slugs: Sequence[str]) -> dict[str, UUID]:
    """The ids of the functions that have these slugs."""
    cursor = await connection.execute(
        "select slug, id from zmesh.functions where project_id = %s and slug = any (%s)", (project_id, list(slugs))
    )
    return dict(await cursor.fetchall())


async def ids_of_names(connection: AsyncConnection, project_id: UUID, names: Sequence[str]) -> list[UUID]:
    """The ids of the functions that have exactly these names."""
    cursor = await connection.execute(
        "select id from zmesh.functions where project_id = %s and name = any (%s)", (project_id, list(names))
    )
    return [id for (id,) in await cursor.fetchall()]


async def list_functions(
    connection: AsyncConnection,
    project_id: UUID,
    after_slug: str,
    limit: int,
    *,
    tag: str | None = None,
    with_code: bool,
    only: list[UUID] | None = None,
) -> list[Function]:
    """The functions after this slug, in the order of their slugs; only those with the tag, and only these
    ids, where given."""
    columns = COLUMNS if with_code else COLUMNS.replace(" code,", " '' as code,")
    return await fetch_all(
        connection,
        Function,
        f"""
        select {columns} from zmesh.functions
         where project_id = %(project_id)s and draft_of is null and slug > %(after)s
           and (%(tag)s::text is null or %(tag)s = any (tags))
           and (%(only)s::uuid[] is null or id = any (%(only)s::uuid[]))
         order by slug limit %(limit)s
        """,
        {"project_id": project_id, "after": after_slug, "tag": tag, "limit": limit, "only": only},
    )


async def insert_function(
    connection: AsyncConnection, project_id: UUID, values: Mapping[str, Any], by: UUID
) -> Function:
    """Create a function with these settings, by this user or API key. Raises UniqueViolation, CheckViolation or the
    trigger's errors."""
    function = await fetch_one(
        connection,
        Function,
        f"select {COLUMNS} from zmesh.create_function(%s, %s, %s)",
        (project_id, _jsonb(_settings(values)), by),
    )
    assert function is not None
    return function


async def update_function(
    connection: AsyncConnection, id: UUID, changes: Mapping[str, Any], by: UUID, revisions: Sequence[int] | None = None
) -> Function | None:
    """Change these settings, by this user or API key; the trigger saves the version. None where there is no such
    function, or where it has none of the given revisions."""
    return await fetch_one(
        connection,
        Function,
        f"select {COLUMNS} from zmesh.change_function(%s, %s, %s::integer[], %s)",
        (id, _jsonb(_settings(changes)), None if revisions is None else list(revisions), by),
    )


async def read_files(connection: AsyncConnection, function_id: UUID, version: int) -> str:
    """All files of a version, the entry file included, as a JSON text: paths with their content."""
    return str(
        await fetch_value(
            connection,
            "select coalesce((select jsonb_build_object(s.entry_file, s.code) || s.files from ("
            " select entry_file, code, files from zmesh.functions where id = %(id)s and version = %(version)s union all"
            " select entry_file, code, files from zmesh.function_versions"
            "  where function_id = %(id)s and version = %(version)s) s where s.entry_file is not null), '{}')::text",
            {"id": function_id, "version": version},
        )
    )


async def has_files(connection: AsyncConnection, id: UUID, files: msgspec.Raw) -> bool:
    """Whether these are the function's current files beside its entry file."""
    return bool(
        await fetch_value(connection, "select files = %s from zmesh.functions where id = %s", (_jsonb(files), id))
    )


def _jsonb(value: Any) -> Jsonb:
    return Jsonb(value, dumps=msgspec.json.encode)  # JSON texts in it go as they are


def _settings(values: Mapping[str, Any]) -> dict[str, Any]:
    settings = {name: values[name] for name in SETTINGS if name in values}
    return settings | {"build_id": str(id)} if (id := settings.get("build_id")) else settings


async def delete_function(connection: AsyncConnection, id: UUID, revisions: Sequence[int] | None = None) -> bool:
    """Delete a function, if it has one of the given revisions; its invocations are cancelled. Whether it did."""
    given = None if revisions is None else list(revisions)
    return bool(await fetch_value(connection, "select zmesh.delete_function(%s, %s::integer[])", (id, given)))


async def function_for_drafts(connection: AsyncConnection, project_id: UUID, name: str, language: str) -> Function:
    """What holds the drafts of a function of this name, which is not deployed."""
    query = f"select {COLUMNS} from zmesh.function_for_drafts(%s, %s, %s)"
    function = await fetch_one(connection, Function, query, (project_id, name, language))
    assert function is not None
    return function


async def save_draft(connection: AsyncConnection, function_id: UUID, code: Mapping[str, Any]) -> int:
    """Store code of a function to be tried; returns its number, below zero."""
    values = {**code, "build_id": None if code["build_id"] is None else str(code["build_id"])}
    text = msgspec.json.encode(values).decode()
    number: int = await fetch_value(connection, "select zmesh.save_draft(%s, %s::jsonb)", (function_id, text))
    return number


async def save_dry_run(connection: AsyncConnection, function_id: UUID, version: int | None, alias: str | None) -> int:
    """Make a draft of a deployed version whose runs are dry; returns its number. Raises the routine's errors."""
    number: int = await fetch_value(connection, "select zmesh.save_dry_run(%s, %s, %s)", (function_id, version, alias))
    return number
