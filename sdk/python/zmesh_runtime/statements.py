"""SQL text for the helpers of zmesh.db; every identifier is quoted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from zmesh_runtime.parameters import Array, is_list, plain

Params = Sequence[Any] | Mapping[str, Any] | None
Where = str | Mapping[str, Any] | None
Statement = tuple[str, Params]

ARRAY_COLUMNS = """
select a.attname,
       case when e.typname in ('json', 'jsonb') then 'json'
            when e.typtype = 'c' then 'composite' else 'other' end as element
from pg_attribute a join pg_type t on t.oid = a.atttypid left join pg_type e on e.oid = t.typelem
where a.attrelid = %s::regclass and a.attnum > 0 and not a.attisdropped and t.typcategory = 'A'
"""


def quoted(name: str) -> str:
    """One identifier, exactly as written."""
    if not isinstance(name, str) or not name or "\0" in name:
        raise ValueError(f"{name!r} is not a valid table or column name")
    return '"' + name.replace('"', '""') + '"'


def table_name(table: str) -> str:
    """A table, or schema.table: the dot separates the parts, and each is quoted."""
    if not isinstance(table, str):
        raise ValueError(f"{table!r} is not a valid table name")
    return ".".join(quoted(part) for part in table.split("."))


def insert(table: str, data: Mapping[str, Any]) -> Statement:
    if not data:
        return f"insert into {table_name(table)} default values returning *", None
    columns = ", ".join(_doubled(quoted(name)) for name in data)
    marks = ", ".join(["%s"] * len(data))
    return f"insert into {_doubled(table_name(table))} ({columns}) values ({marks}) returning *", list(data.values())


def select(table: str, where: Where, params: Params) -> Statement:
    condition, params = _condition(where, params, "select")
    if condition is None:
        return f"select * from {table_name(table)}", None
    name = table_name(table) if params is None else _doubled(table_name(table))
    return f"select * from {name} where {condition}", params


def update(table: str, data: Mapping[str, Any], where: Where, params: Params) -> Statement:
    if not data:
        raise ValueError("update needs at least one column to set")
    condition, params = _required(where, params, "update")
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


def remove(table: str, where: Where, params: Params) -> Statement:
    condition, params = _required(where, params, "remove")
    name = table_name(table) if params is None else _doubled(table_name(table))
    return f"delete from {name} where {condition}\nreturning *", params


def insert_invocation(columns: Iterable[str], delayed: bool) -> str:
    """A new invocation, or nothing if its idempotency key was used before."""
    names = list(columns)
    marks = ["%s"] * len(names)
    if delayed:
        names.append("run_at")
        marks.append("zmesh.now() + make_interval(secs => %s)")
    return (
        f"insert into zmesh.invocations ({', '.join(names)}) values ({', '.join(marks)}) "
        "on conflict do nothing returning id"
    )


def _condition(where: Where, params: Params, what: str) -> tuple[str | None, Params]:
    """The text of a condition and its parameters; no text if every row matches."""
    if where is None or (isinstance(where, str) and not where.strip()):
        return None, None
    if isinstance(where, str):
        return where, params
    if not isinstance(where, Mapping):
        kind = type(where).__name__
        raise TypeError(f"the condition of {what} must be text, or a dict of columns and values (got {kind})")
    if params is not None:
        raise TypeError(f"params apply only to a condition in SQL; {what} got a dict, which contains its values")
    return _equalities(where) if where else (None, None)


def _required(where: Where, params: Params, what: str) -> tuple[str, Params]:
    condition, params = _condition(where, params, what)
    if condition is None:
        raise ValueError(f'{what} needs a condition; for all rows, pass where="true"')
    return condition, params


def _equalities(where: Mapping[str, Any]) -> Statement:
    """Each column equals its value; None becomes "is null", and a list means any of its values."""
    texts, values = [], []
    for column, value in where.items():
        name = _doubled(quoted(column))
        if value is None:
            texts.append(f"{name} is null")
        elif not is_list(value):
            texts.append(f"{name} = %s")
            values.append(plain(value))
        else:
            given = [item for item in value if item is not None]
            if any(map(is_list, given)):
                raise TypeError(f"the condition's list for {quoted(column)} contains a list")
            texts.append(f"{name} = any(%s)" if len(given) == len(value) else f"({name} = any(%s) or {name} is null)")
            values.append(Array(given))
    return " and ".join(texts), values


def _doubled(text: str) -> str:
    """Text beside placeholders, in which a literal % must be doubled."""
    return text.replace("%", "%%")
