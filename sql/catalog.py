"""Functions and their versions, as people manage them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from sql.rows import fetch_all, fetch_one

COLUMNS = """id, project_id, name, slug, language, entry_point, code, timeout_ms, memory_mb, env_vars,
             version, enabled, created_at, updated_at"""
# Both ways to name a function in a URL: its id or its slug.
NAMED = "project_id = %(project_id)s and (id = %(id)s or slug = %(slug)s)"


@dataclass(frozen=True, slots=True)
class Function:
    """A function with its current code."""

    id: UUID
    project_id: UUID
    name: str
    slug: str
    language: str
    entry_point: str
    code: str
    timeout_ms: int
    memory_mb: int
    env_vars: dict[str, str]
    version: int
    enabled: bool
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Version:
    """One state of a function's code; `created_at` is when it was deployed."""

    version: int
    current: bool
    language: str
    entry_point: str
    code: str
    created_at: datetime


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
    return await fetch_one(connection, Function, f"select {COLUMNS} from zmesh.functions where {NAMED}", name.values)


async def list_functions(
    connection: AsyncConnection, project_id: UUID, after_slug: str, limit: int, *, with_code: bool
) -> list[Function]:
    """The functions after this slug, in the order of their slugs."""
    columns = COLUMNS if with_code else COLUMNS.replace(" code,", " '' as code,")
    return await fetch_all(
        connection,
        Function,
        f"select {columns} from zmesh.functions where project_id = %s and slug > %s order by slug limit %s",
        (project_id, after_slug, limit),
    )


async def insert_function(connection: AsyncConnection, project_id: UUID, values: Mapping[str, Any]) -> Function:
    """Create a function. Raises UniqueViolation, CheckViolation or the trigger's errors."""
    function = await fetch_one(
        connection,
        Function,
        f"""
        insert into zmesh.functions (project_id, name, language, entry_point, code, timeout_ms, memory_mb,
                                     env_vars, enabled)
        values (%(project_id)s, %(name)s, %(language)s, %(entry_point)s, %(code)s, %(timeout_ms)s, %(memory_mb)s,
                %(env_vars)s, %(enabled)s)
        returning {COLUMNS}
        """,
        {**values, "project_id": project_id, "env_vars": Jsonb(values["env_vars"])},
    )
    assert function is not None
    return function


async def update_function(
    connection: AsyncConnection, name: FunctionName, changes: Mapping[str, Any]
) -> Function | None:
    """Change the named columns; the trigger saves the version. None where there is no such function."""
    values = dict.fromkeys(
        ("name", "language", "entry_point", "code", "timeout_ms", "memory_mb", "env_vars", "enabled")
    ) | dict(changes)
    if values["env_vars"] is not None:
        values["env_vars"] = Jsonb(values["env_vars"])
    prefixed = {f"new_{column}": value for column, value in values.items()}
    return await fetch_one(
        connection,
        Function,
        f"""
        update zmesh.functions
           set name = coalesce(%(new_name)s, name), language = coalesce(%(new_language)s, language),
               entry_point = coalesce(%(new_entry_point)s, entry_point), code = coalesce(%(new_code)s, code),
               timeout_ms = coalesce(%(new_timeout_ms)s, timeout_ms),
               memory_mb = coalesce(%(new_memory_mb)s, memory_mb),
               env_vars = coalesce(%(new_env_vars)s, env_vars), enabled = coalesce(%(new_enabled)s, enabled)
         where {NAMED}
        returning {COLUMNS}
        """,
        {**prefixed, **name.values},
    )


async def delete_function(connection: AsyncConnection, name: FunctionName) -> bool:
    """Delete a function; its jobs are cancelled by a trigger. Whether there was one."""
    cursor = await connection.execute(f"delete from zmesh.functions where {NAMED}".encode(), name.values)
    return cursor.rowcount > 0


async def list_versions(connection: AsyncConnection, function_id: UUID, before: int, limit: int) -> list[Version]:
    """The current and the saved versions below a number, newest first."""
    return await fetch_all(
        connection,
        Version,
        """
        with every as (
            select version, false as current, language, entry_point, code, created_at as ended_at
              from zmesh.function_versions where function_id = %(id)s
            union all
            select version, true, language, entry_point, code, null from zmesh.functions where id = %(id)s
        )
        select version, current, language, entry_point, code,
               -- A version is deployed at the moment the one before it is saved.
               coalesce(lag(ended_at) over (order by version),
                        (select created_at from zmesh.functions where id = %(id)s)) as created_at
          from every
         where version < %(before)s
         order by version desc
         limit %(limit)s
        """,
        {"id": function_id, "before": before, "limit": limit},
    )


async def rollback(connection: AsyncConnection, function_id: UUID, version: int) -> Function:
    """Restore a saved version. Raises the domain's errors where it does not exist or is the current one."""
    function = await fetch_one(
        connection, Function, f"select {COLUMNS} from zmesh.rollback(%s, %s)", (function_id, version)
    )
    assert function is not None
    return function
