"""Versions of functions and their aliases, as people manage them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg import AsyncConnection

from sql.catalog import COLUMNS, Function
from sql.rows import fetch_all, fetch_one, fetch_value


@dataclass(frozen=True, slots=True)
class Version:
    """One state of a function's code; `created_at` is when it was deployed, `deployed_by` by whom, `retired_at` since
    when nothing runs it.

    For the content of its files see sql.catalog.read_files().
    """

    version: int
    current: bool
    language: str
    entry_point: str
    code: str
    build_id: UUID | None
    entry_file: str | None
    style: str | None
    init: str | None
    file_sizes: dict[str, int]
    created_at: datetime
    deployed_by: str | None
    retired_at: datetime | None
    message: str

    @property
    def files(self) -> dict[str, str] | None:
        """None: there are some, which were not read."""
        return {} if self.entry_file is None else None


@dataclass(frozen=True, slots=True)
class Alias:
    """A name of versions, with the share of each in percent."""

    name: str
    shares: dict[str, int]
    updated_at: datetime


_VERSIONS = """
    with every as (
        select version, false as current, language, entry_point, code, entry_file, style, init, file_sizes, build_id,
               created_at as ended_at, retired_at, deployed_by
          from zmesh.function_versions where function_id = %(id)s and version > 0
        union all
        select version, true, language, entry_point, code, entry_file, style, init, file_sizes, build_id, null, null,
               deployed_by
          from zmesh.functions where id = %(id)s
    )
    select v.version, v.current, v.language, v.entry_point, v.code, v.entry_file, v.style, v.init, v.file_sizes,
           v.build_id,
           v.retired_at, v.deployed_by,
           coalesce((select m.message from zmesh.version_messages m
                      where m.function_id = %(id)s and m.version = v.version), '') as message,
           -- A version is deployed at the moment the one before it is saved.
           coalesce((select b.created_at from zmesh.function_versions b
                      where b.function_id = %(id)s and b.version = v.version - 1),
                    (select created_at from zmesh.functions where id = %(id)s)) as created_at
      from every v
"""


async def list_versions(connection: AsyncConnection, function_id: UUID, before: int, limit: int) -> list[Version]:
    """The current and the saved versions below a number, newest first."""
    return await fetch_all(
        connection,
        Version,
        f"{_VERSIONS} where v.version < %(before)s order by v.version desc limit %(limit)s",
        {"id": function_id, "before": before, "limit": limit},
    )


async def find_version(connection: AsyncConnection, function_id: UUID, version: int) -> Version | None:
    """The current version or a saved one."""
    return await fetch_one(
        connection,
        Version,
        f"{_VERSIONS} where v.version = %(version)s",
        {"id": function_id, "version": version},
    )


async def files_of(connection: AsyncConnection, function_id: UUID, version: int) -> str:
    """The files of a version beside its entry file, as a JSON text."""
    query = "select coalesce(zmesh.files_of(%s, %s), '{}')::text"
    return str(await fetch_value(connection, query, (function_id, version)))


async def rollback(
    connection: AsyncConnection, function_id: UUID, version: int, by: UUID, revisions: Sequence[int] | None = None
) -> Function:
    """Restore a saved version, by this user or API key. Raises the domain's errors where it does not exist, is the
    current one, or where the function has none of the given revisions."""
    function = await fetch_one(
        connection,
        Function,
        f"select {COLUMNS} from zmesh.rollback(%s, %s, %s::integer[], %s)",
        (function_id, version, None if revisions is None else list(revisions), by),
    )
    assert function is not None
    return function


async def retire(connection: AsyncConnection, function_id: UUID, version: int) -> None:
    """Keep a saved version from running. Raises NotFound, or Conflict for the current one or one that has an alias."""
    await connection.execute("select zmesh.retire_version(%s, %s)", (function_id, version))


async def unretire(connection: AsyncConnection, function_id: UUID, version: int) -> None:
    """Let a saved version run again. Raises NotFound."""
    await connection.execute("select zmesh.unretire_version(%s, %s)", (function_id, version))


_ALIASES = """
    select name, jsonb_object_agg(version::text, weight) as shares, max(updated_at) as updated_at
      from zmesh.function_aliases where function_id = %(id)s
"""


async def list_aliases(connection: AsyncConnection, function_id: UUID, after: str, limit: int) -> list[Alias]:
    """The aliases of a function after this name, in the order of their names."""
    return await fetch_all(
        connection,
        Alias,
        f"{_ALIASES} and name > %(after)s group by name order by name limit %(limit)s",
        {"id": function_id, "after": after, "limit": limit},
    )


async def find_alias(connection: AsyncConnection, function_id: UUID, name: str) -> Alias | None:
    """One alias of a function."""
    return await fetch_one(
        connection, Alias, f"{_ALIASES} and name = %(name)s group by name", {"id": function_id, "name": name}
    )


async def set_alias(connection: AsyncConnection, function_id: UUID, name: str, shares: Mapping[int, int]) -> None:
    """Make an alias stand for these versions. Raises NotFound for one there is not, Invalid where it is not all."""
    await connection.execute(
        "select zmesh.set_alias(%s, %s, %s::integer[], %s::integer[])",
        (function_id, name, list(shares), list(shares.values())),
    )


async def delete_alias(connection: AsyncConnection, function_id: UUID, name: str) -> bool:
    """Whether there was one."""
    return bool(await fetch_value(connection, "select zmesh.delete_alias(%s, %s)", (function_id, name)))
