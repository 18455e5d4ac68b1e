"""Changes of tables that invoke functions. Everything here runs on a connection of the project's own role."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
from psycopg import AsyncConnection

from sql.errors import Conflict, NotFound
from sql.rows import fetch_all, fetch_value

# Making a trigger waits for every transaction that has written to the table.
LOCK_TIMEOUT = "5s"


@dataclass(frozen=True, slots=True)
class TableChange:
    """What is passed on of a table; `table` is its name as SQL writes it, `function` a slug."""

    table: str
    function: str
    events: list[str]
    when: str | None
    columns: list[str] | None


async def list_changes(connection: AsyncConnection) -> list[TableChange]:
    """What is passed on of the role's tables."""
    return await fetch_all(
        connection,
        TableChange,
        'select "table"::text, function, events, "when", columns from zmesh.changes order by 1, 2',
        (),
    )


async def on_change(
    connection: AsyncConnection,
    table: str,
    function: str,
    events: Sequence[str],
    when: str | None,
    columns: Sequence[str] | None,
) -> TableChange:
    """Invoke a function with each row that is changed; replaces what was there for the two."""
    oid = await _table(connection, table)
    async with connection.transaction():
        await _limit_the_wait(connection)
        try:
            await connection.execute(
                "select zmesh.on_change(%s::oid::regclass, %s, %s, %s, %s)",
                (oid, function, list(events), when, list(columns) if columns else None),
            )
        except psycopg.errors.LockNotAvailable as error:
            raise _busy(table) from error
        [made] = await fetch_all(
            connection,
            TableChange,
            'select "table"::text, function, events, "when", columns from zmesh.changes'
            ' where "table" = %s::oid::regclass and function = %s',
            (oid, function),
        )
    return made


async def set_change(
    connection: AsyncConnection,
    table: str,
    function: str,
    events: Sequence[str],
    when: str | None,
    columns: Sequence[str] | None,
) -> None:
    """The same for a function that may not exist yet, in the transaction of the connection."""
    oid = await _table(connection, table)
    await _limit_the_wait(connection)
    try:
        await connection.execute(
            "select zmesh.set_change(%s::oid::regclass, %s, %s, %s, %s)",
            (oid, function, list(events), when, list(columns) if columns else None),
        )
    except psycopg.errors.LockNotAvailable as error:
        raise _busy(table) from error


async def table_name(connection: AsyncConnection, table: str) -> str:
    """The name of a table as list_changes() writes it. Raises NotFound."""
    oid = await _table(connection, table)
    return str(await fetch_value(connection, "select %s::oid::regclass::text", (oid,)))


async def off_change(connection: AsyncConnection, table: str, function: str) -> bool:
    """Whether there was anything to end."""
    oid = await _table(connection, table)
    async with connection.transaction():
        await _limit_the_wait(connection)
        try:
            cursor = await connection.execute("select zmesh.off_change(%s::oid::regclass, %s)", (oid, function))
        except psycopg.errors.LockNotAvailable as error:
            raise _busy(table) from error
        row = await cursor.fetchone()
    return row is not None and bool(row[0])


async def _table(connection: AsyncConnection, name: str) -> int:
    try:
        cursor = await connection.execute("select to_regclass(%s)::oid", (name,))
        row = await cursor.fetchone()
    except (psycopg.errors.InvalidName, psycopg.errors.SyntaxError, psycopg.errors.FeatureNotSupported):
        row = None  # a text that cannot be a name
    if row is None or row[0] is None:
        raise NotFound(f'table "{name}" does not exist', "Write it as in SQL: orders, or shop.orders.")
    return int(row[0])


async def _limit_the_wait(connection: AsyncConnection) -> None:
    await connection.execute("select set_config('lock_timeout', %s, true)", (LOCK_TIMEOUT,))


def _busy(table: str) -> Conflict:
    return Conflict(
        f"{table} is being written to by a transaction that does not end", "End that transaction, then try again."
    )
