"""SQL text for the helpers of zmesh.db; every identifier is quoted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Params = Sequence[Any] | Mapping[str, Any] | None
Statement = tuple[str, Params]

ARRAY_COLUMNS = """
select a.attname from pg_attribute a join pg_type t on t.oid = a.atttypid
where a.attrelid = %s::regclass and a.attnum > 0 and not a.attisdropped and t.typcategory = 'A'
"""


def quoted(name: str) -> str:
    """One identifier, exactly as written."""
    if not isinstance(name, str) or not name or "\0" in name:
        raise ValueError(f"{name!r} is no name of a table or column")
    return '"' + name.replace('"', '""') + '"'


def table_name(table: str) -> str:
    """A table, or schema.table: the dot separates, each part is quoted."""
    if not isinstance(table, str):
        raise ValueError(f"{table!r} is no name of a table")
    return ".".join(quoted(part) for part in table.split("."))


def insert(table: str, data: Mapping[str, Any]) -> Statement:
    if not data:
        return f"insert into {table_name(table)} default values returning *", None
    columns = ", ".join(_doubled(quoted(name)) for name in data)
    marks = ", ".join(["%s"] * len(data))
    return f"insert into {_doubled(table_name(table))} ({columns}) values ({marks}) returning *", list(data.values())


def select(table: str, where: str | None, params: Params) -> Statement:
    if where is None or not where.strip():
        return f"select * from {table_name(table)}", None
    name = table_name(table) if params is None else _doubled(table_name(table))
    return f"select * from {name} where {where}", params


def update(table: str, data: Mapping[str, Any], where: str, params: Params) -> Statement:
    if not data:
        raise ValueError("update needs at least one column to set")
    condition = _required(where, "update")
    if params is None:
        condition, params = _doubled(condition), ()
    if isinstance(params, Mapping):
        marks = [f"%(zmesh set {position})s" for position in range(len(data))]
        values: Params = {**params, **{mark[2:-2]: value for mark, value in zip(marks, data.values(), strict=True)}}
    else:
        marks = ["%s"] * len(data)
        values = [*data.values(), *params]
    settings = ", ".join(f"{_doubled(quoted(name))} = {mark}" for name, mark in zip(data, marks, strict=True))
    return f"update {_doubled(table_name(table))} set {settings} where {condition}\nreturning *", values


def remove(table: str, where: str, params: Params) -> Statement:
    condition = _required(where, "remove")
    name = table_name(table) if params is None else _doubled(table_name(table))
    return f"delete from {name} where {condition}\nreturning *", params


def insert_invocation(columns: Iterable[str], delayed: bool) -> str:
    """A new invocation, or nothing when its idempotency key was used before."""
    names = list(columns)
    marks = ["%s"] * len(names)
    if delayed:
        names.append("run_at")
        marks.append("zmesh.now() + make_interval(secs => %s)")
    return (
        f"insert into zmesh.invocations ({', '.join(names)}) values ({', '.join(marks)}) "
        "on conflict do nothing returning id"
    )


def _required(where: str, what: str) -> str:
    if not isinstance(where, str) or not where.strip():
        raise ValueError(f'{what} needs a condition; for all rows say so: where="true"')
    return where


def _doubled(text: str) -> str:
    """Text beside placeholders, where a % stands for itself only when doubled."""
    return text.replace("%", "%%")
