"""What a transaction that is still open has changed, row by row, without triggers and locks.

The rows that it made have its own transaction ids. The rows that it replaced are those that another session with the
same snapshot sees, and it does not.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from listener.sign_in import sign_in
from listener.wire import ServerError, query

MOST_TABLES = 50
MOST_ROWS = 100  # in all, old and new states of one row together
MOST_CANDIDATES = 5000  # of each table: rows that may have been replaced
LARGEST_ROW = 16 * 1024  # characters of JSON
STATEMENT_MS = 3000
NOTHING: dict[str, Any] = {"tables": [], "rows": [], "truncated": False, "note": None}
_INVOCATIONS = "zmesh.invocations"


@dataclass(frozen=True, slots=True)
class Begun:
    """A transaction: the snapshot that it sees, its id, how many multixacts there were, and the schema in which names
    without one are."""

    snapshot: str
    xid: str
    multixacts: int
    schema: str


@dataclass(frozen=True, slots=True)
class _Table:
    oid: str
    schema: str
    name: str
    inserted: int
    updated: int
    deleted: int

    @property
    def quoted(self) -> str:
        return ".".join('"' + part.replace('"', '""') + '"' for part in (self.schema, self.name))

    @property
    def is_queue(self) -> bool:
        return (self.schema, self.name) == ("zmesh", "queue")

    def shown(self, schema: str) -> str:
        if self.is_queue:
            return _INVOCATIONS
        return self.name if self.schema == schema else f"{self.schema}.{self.name}"

    def summary(self, schema: str) -> dict[str, Any]:
        counts = {"inserted": self.inserted, "updated": self.updated, "deleted": self.deleted}
        return {"table": self.shown(schema), **counts}


@dataclass(frozen=True, slots=True)
class _Row:
    place: str
    key: str | None
    content: msgspec.Raw


async def begin(session: socket.socket, settings: Mapping[str, str]) -> Begun:
    """Begin a transaction on a fresh session. Raises ServerError, OSError."""
    await query(session, "; ".join(f"set {name} to {_literal(value)}" for name, value in settings.items()))
    await query(session, "begin isolation level repeatable read")
    [[snapshot, xid, multixacts, schema]] = await query(
        session,
        "select pg_catalog.pg_export_snapshot(), pg_catalog.pg_current_xact_id()::xid, pg_catalog.mxid_age('1'::xid),"
        " coalesce(pg_catalog.current_schema(), '')",
    )
    return Begun(snapshot or "", xid or "", int(multixacts or 0), schema or "")


async def changed_rows(session: socket.socket, begun: Begun, url: str) -> dict[str, Any]:
    """Tables and rows that the open transaction of this session has changed. Raises ServerError, OSError."""
    await query(session, f"set local search_path = pg_catalog, pg_temp; set local statement_timeout = {STATEMENT_MS}")
    note = await _failure_at_end(session)
    tables = [table for table in await _written(session) if table.schema != "zmesh" or table.is_queue]
    found: list[dict[str, Any]] = []
    shown: list[dict[str, Any]] = []
    before = await sign_in(url)
    try:
        await query(
            before.socket,
            f"begin isolation level repeatable read read only; set transaction snapshot {_literal(begun.snapshot)};"
            f"set local search_path = pg_catalog, pg_temp; set local statement_timeout = {STATEMENT_MS}",
        )
        for table in tables[:MOST_TABLES]:
            rows = await _rows_of(session, before.socket, table, begun) if len(found) <= MOST_ROWS else None
            shown.append(table.summary(begun.schema) | {"listed": rows is not None})
            found += [{"table": table.shown(begun.schema), **row} for row in rows or ()]
    finally:
        before.end()
    truncated = len(found) > MOST_ROWS or len(tables) > MOST_TABLES
    return {"tables": shown, "rows": found[:MOST_ROWS], "truncated": truncated, "note": note}


async def _failure_at_end(session: socket.socket) -> str | None:
    """Why the transaction could not be committed: deferred constraints are checked, and deferred triggers fire."""
    await query(session, "savepoint zmesh_changes")
    try:
        await query(session, "set constraints all immediate")
    except ServerError as error:
        await query(session, "rollback to savepoint zmesh_changes")
        return f"A deferred constraint or trigger would have failed: {error}"
    return None


async def _written(session: socket.socket) -> list[_Table]:
    rows = await query(
        session,
        "select relid, schemaname, relname, n_tup_ins, n_tup_upd, n_tup_del from pg_catalog.pg_stat_xact_user_tables"
        " where n_tup_ins + n_tup_upd + n_tup_del > 0 and schemaname !~ '^pg_' order by schemaname, relname",
    )
    return [_Table(row[0] or "", row[1] or "", row[2] or "", *(int(count or 0) for count in row[3:6])) for row in rows]


async def _rows_of(
    session: socket.socket, before: socket.socket, table: _Table, begun: Begun
) -> list[dict[str, Any]] | None:
    """None where the role may not read it, or where it is too large to be searched in time."""
    for one in (session, before):
        await query(one, "savepoint zmesh_changes")
    try:
        if table.is_queue:
            return _paired([], await _enqueued(session))
        key = await _key_of(session, table)
        made = await _select(session, table, key, "age(zmesh_row.xmin) <= 0", MOST_ROWS + 1)
        gone = await _replaced(session, before, table, key, begun) if table.updated or table.deleted else []
        return _paired(gone, made)
    except ServerError:
        return None
    finally:
        for one in (session, before):
            await query(one, "rollback to savepoint zmesh_changes")


async def _replaced(
    session: socket.socket, before: socket.socket, table: _Table, key: Sequence[str], begun: Begun
) -> list[_Row]:
    """The old states of rows that were updated or deleted. Whoever did it, or locked a row, left its id in xmax."""
    candidates = await query(
        before,
        f"select zmesh_row.ctid from only {table.quoted} zmesh_row where zmesh_row.xmax <> '0'::xid"
        f" and (age(zmesh_row.xmax) <= age({_literal(begun.xid)}::xid)"
        f" or mxid_age(zmesh_row.xmax) between 1 and mxid_age('1'::xid) - {begun.multixacts}) limit {MOST_CANDIDATES}",
    )
    places = [row[0] or "" for row in candidates]
    still = {row.place for row in await _select(session, table, (), _at(places), MOST_CANDIDATES, with_content=False)}
    gone = [place for place in places if place not in still][: MOST_ROWS + 1]
    return await _select(before, table, key, _at(gone), MOST_ROWS + 1)


def _at(places: Sequence[str]) -> str:
    listed = ",".join(f'"{place}"' for place in places)
    return f"zmesh_row.ctid = any ('{{{listed}}}'::tid[])"


def _paired(gone: Sequence[_Row], made: Sequence[_Row]) -> list[dict[str, Any]]:
    """An old and a new row with the same primary key are an update."""
    new = {row.key: row for row in made if row.key is not None}
    rows = []
    for old in gone:
        match = new.pop(old.key, None) if old.key is not None else None
        rows.append(
            {
                "operation": "delete" if match is None else "update",
                "old": old.content,
                "new": None if match is None else match.content,
            }
        )
    inserted = [row for row in made if row.key is None or row.key in new]
    return rows + [{"operation": "insert", "old": None, "new": row.content} for row in inserted]


async def _key_of(session: socket.socket, table: _Table) -> list[str]:
    rows = await query(
        session,
        "select a.attname from pg_catalog.pg_index i join pg_catalog.pg_attribute a"
        f" on a.attrelid = i.indrelid and a.attnum = any (i.indkey) where i.indisprimary and i.indrelid = {table.oid}",
    )
    return [row[0] or "" for row in rows]


async def _select(
    session: socket.socket,
    table: _Table,
    key: Sequence[str],
    condition: str,
    limit: int,
    *,
    with_content: bool = True,
) -> list[_Row]:
    columns = ", ".join('zmesh_row."' + name.replace('"', '""') + '"' for name in key)
    content = "to_jsonb(zmesh_row)::text" if with_content else "null"
    rows = await query(
        session,
        f"select zmesh_row.ctid, {f'jsonb_build_array({columns})' if key else 'null'},"
        f" case when length(shown.text) <= {LARGEST_ROW} then shown.text end"
        f" from only {table.quoted} zmesh_row cross join lateral (select {content} as text) shown"
        f" where {condition} limit {limit}",
    )
    return [_Row(row[0] or "", row[1], _content(row[2])) for row in rows]


def _content(text: str | None) -> msgspec.Raw:
    return msgspec.Raw(b'{"too_large": true}' if text is None else text.encode())


async def _enqueued(session: socket.socket) -> list[_Row]:
    """Invocations of other functions, without what belongs to the queue."""
    rows = await query(
        session,
        f"select case when length(shown.text) <= {LARGEST_ROW} then shown.text end"
        " from zmesh.invocations i cross join lateral (select jsonb_strip_nulls(jsonb_build_object("
        "'id', i.id, 'function', i.function, 'payload', i.payload, 'run_at', i.run_at, 'priority', i.priority,"
        " 'version', i.version, 'concurrency_key', i.concurrency_key))::text as text) shown"
        f" where i.status = 'queued' and age(i.xmin) <= 0 limit {MOST_ROWS + 1}",
    )
    return [_Row("", None, _content(row[0])) for row in rows]


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
