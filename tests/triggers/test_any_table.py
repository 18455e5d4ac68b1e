"""Table changes of any table: what arrives is `to_jsonb` of the rows, however the table came to look as it does."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql
from psycopg.rows import tuple_row

from tests.databases import Database, TestProject

NAMES = (
    *("new", "old", "r", "n", "o", "row", "record", "json", "payload", "function", "columns", "passes", "careful"),
    *(
        "tg_op",
        "table_name",
        "schema_name",
        "watched",
        "zmesh_change",
        'a"b',
        "it's",
        "Größe",
        "%s",
        "$1",
        "ctid_",
        "x" * 63,
    ),
)
TYPES = {
    "integer": "7",
    "numeric(12,3)": "1.500",
    "text": "'é\"\\'",
    "jsonb": "'{\"a\": [1, null]}'",
    "json": "'{\"a\":  1}'",
    "timestamptz": "'2026-11-28 12:00+01'",
    "date": "'infinity'",
    "uuid": "'6a1f0c7e-8d4e-4b0a-9d53-0f3f2f6f3a11'",
    "integer[]": "'{1,2,null}'",
    "bytea": "'\\x00ff'",
    "double precision": "'NaN'",
    "int4range": "'[1,5)'",
    "point": "'(1,2)'",
    "interval": "'1 day 2 hours'",
}


@dataclass
class Table:
    """A table of the project, and what a session does to it."""

    connection: psycopg.Connection[Any]
    is_partitioned: bool
    columns: dict[str, str] = field(default_factory=dict)
    partitions: list[str] = field(default_factory=list)
    name: str = "thing"
    made: int = 0

    def run(self, query: str, *names: str, **values: Any) -> list[tuple[Any, ...]]:
        composed = sql.SQL(query).format(*(sql.Identifier(name) for name in names), **values)
        cursor = self.connection.execute(composed)
        return cursor.fetchall() if cursor.description else []

    def create(self) -> None:
        self.run(
            "create table {} (id integer not null)" + (" partition by list (id)" if self.is_partitioned else ""),
            self.name,
        )
        if self.is_partitioned:
            self.run("create table other partition of {} default", self.name)
            self.attach(direct=True)

    def attach(self, *, direct: bool) -> None:
        """One more partition: created as such, or attached with its columns in another order."""
        if not self.is_partitioned or len(self.partitions) > 3:
            return
        self.made += 1
        part = f"part_{self.made}"
        values = sql.SQL(", ").join(range(self.made * 1000, self.made * 1000 + 20))
        if direct:
            self.run("create table {} partition of {} for values in ({values})", part, self.name, values=values)
        else:
            self.run("create table {} (gone integer, id integer not null)", part)
            for column, kind in reversed(self.columns.items()):
                self.run("alter table {} add column {} {kind}", part, column, kind=sql.SQL(kind))
            self.run("alter table {} drop column gone", part)
            self.run("alter table {} attach partition {} for values in ({values})", self.name, part, values=values)
        self.partitions.append(part)

    def detach(self) -> None:
        if self.partitions:
            part = self.partitions.pop()
            self.run("alter table {} detach partition {}", self.name, part)
            self.run("drop table {}", part)

    def add(self, column: str, kind: str) -> None:
        if column not in self.columns:
            self.run("alter table {} add column {} {kind}", self.name, column, kind=sql.SQL(kind))
            self.columns[column] = kind

    def generate(self, column: str, kind: str) -> None:
        """A column that is computed of another one: STORED, or VIRTUAL where the server has such columns."""
        if column not in self.columns and (kind == "stored" or self.connection.info.server_version >= 180000):
            clause = sql.SQL(f"integer generated always as (id * 2) {kind}")
            self.run("alter table {} add column {} {clause}", self.name, column, clause=clause)
            self.columns[column] = f"integer generated always as (id * 2) {kind}"

    def drop(self, index: int) -> None:
        if self.columns:
            column = list(self.columns)[index % len(self.columns)]
            self.run("alter table {} drop column {}", self.name, column)
            del self.columns[column]

    def rename(self, index: int, to: str) -> None:
        if self.columns and to not in self.columns:
            column = list(self.columns)[index % len(self.columns)]
            self.run("alter table {} rename column {} to {}", self.name, column, to)
            self.columns[to] = self.columns.pop(column)

    def retype(self, index: int) -> None:
        if self.columns:
            column = list(self.columns)[index % len(self.columns)]
            if "generated" not in self.columns[column]:
                self.run("alter table {} alter column {} type text", self.name, column)
                self.columns[column] = "text"

    def rename_table(self) -> None:
        self.made += 1
        self.run("alter table {} rename to {}", self.name, to := f"thing {self.made}")
        self.name = to

    def rows(self) -> dict[int, Any]:
        """The rows as JSON, by their ids."""
        return dict(self.run("select t.id, to_jsonb(t.*) from {} as t", self.name))

    def value(self, column: str) -> str:
        kind = self.columns[column]
        return "'seven'" if kind == "text" else TYPES[kind]

    def writable(self) -> list[str]:
        return [column for column, kind in self.columns.items() if "generated" not in kind]

    def insert(self, ids: list[int], into: str | None = None) -> None:
        columns = self.writable()
        names = sql.SQL(", ").join(map(sql.Identifier, ["id", *columns]))
        values = sql.SQL(", ".join(["i", *(self.value(column) for column in columns)]))
        query = "insert into {} ({columns}) select {values} from unnest({ids}::integer[]) i"
        self.run(query, into or self.name, columns=names, values=values, ids=sql.Literal(ids))

    def update(self, target: str | None = None, *, move: int = 0) -> None:
        changes = [sql.SQL("{} = null").format(sql.Identifier(column)) for column in self.writable()[:2]]
        changes.append(sql.SQL("id = id + {}").format(move))
        self.run("update {} set {changes}", target or self.name, changes=sql.SQL(", ").join(changes))

    def delete(self, target: str | None = None) -> None:
        self.run("delete from {}", target or self.name)


Step = Callable[[Table], None]
names, kinds, indexes = st.sampled_from(NAMES), st.sampled_from(sorted(TYPES)), st.integers(0, 5)
steps: st.SearchStrategy[Step] = st.one_of(
    st.builds(lambda name, kind: lambda t: t.add(name, kind), names, kinds),
    st.builds(lambda name, kind: lambda t: t.add(name, kind), names, kinds),
    st.builds(lambda name, kind: lambda t: t.generate(name, kind), names, st.sampled_from(["stored", "virtual"])),
    st.builds(lambda index: lambda t: t.drop(index), indexes),
    st.builds(lambda index, name: lambda t: t.rename(index, name), indexes, names),
    st.builds(lambda index: lambda t: t.retype(index), indexes),
    st.just(Table.rename_table),
    st.builds(lambda direct: lambda t: t.attach(direct=direct), st.booleans()),
    st.just(Table.detach),
)


class Arrivals:
    """What arrived since the last look, by an administrator's connection."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def take(self) -> list[Any]:
        rows = self._connection.execute(
            "with gone as (delete from zmesh.queue returning payload) select payload from gone"
        )
        return [row[0] for row in rows.fetchall()]


def check(arrivals: Arrivals, table: Table, kind: str, before: dict[int, Any], move: int = 0) -> None:
    """Exactly what `kind` changed between the rows before and now has arrived, once."""
    after = table.rows()
    if kind == "UPDATE":
        pairs = [(after[id + move], row) for id, row in before.items() if after.get(id + move) != row]
    elif kind == "INSERT":
        pairs = [(row, None) for id, row in after.items() if id not in before]
    else:
        pairs = [(None, row) for id, row in before.items() if id not in after]
    about = {"type": kind, "schema": table.run("select current_schema()")[0][0], "table": table.name}
    wanted = [{**about, "record": new, "old_record": old} for new, old in pairs]
    assert wanted
    assert sorted(arrivals.take(), key=_text) == sorted(wanted, key=_text)


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


@pytest.fixture(scope="module")
def shop(server: str, migrated: str) -> Iterator[tuple[Database, TestProject]]:
    """A database for all generated tables."""
    with Database.fresh(server, "unused-a", "unused-b", template=migrated) as database:
        project = database.project()
        database.function(project, "hear")
        yield database, project


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    is_partitioned=st.booleans(),
    before=st.lists(steps, max_size=6),
    between=st.lists(steps, max_size=6),
    has_condition=st.booleans(),
)
def test_what_arrives_is_the_row_whatever_was_done_to_the_table(
    shop: tuple[Database, TestProject],
    is_partitioned: bool,
    before: list[Step],
    between: list[Step],
    has_condition: bool,
) -> None:
    database, project = shop
    with (
        psycopg.connect(project.url, autocommit=True, row_factory=tuple_row) as own,
        psycopg.connect(database.admin_url, autocommit=True, row_factory=tuple_row) as admin,
    ):
        table, arrivals = Table(own, is_partitioned), Arrivals(admin)
        try:
            table.create()
            for step in before:
                step(table)
            condition = "coalesce(new.id, old.id) > 0"
            own.execute(
                "select zmesh.on_change(%s::regclass, 'hear', p_when => %s)",
                [sql.Identifier(table.name).as_string(), condition if has_condition else None],
            )
            write(table, arrivals)
            for step in between:
                step(table)
                write(table, arrivals)
            own.execute("select zmesh.off_change(%s::regclass, 'hear')", [sql.Identifier(table.name).as_string()])
        finally:
            for (name,) in own.execute(
                "select oid::regclass::text from pg_class"
                " where relnamespace = current_schema()::regnamespace and relkind in ('r', 'p')"
            ).fetchall():
                own.execute(f"drop table if exists {name} cascade")
            arrivals.take()


def write(table: Table, arrivals: Arrivals) -> None:
    """Each kind of statement on the table, and on each partition by its name."""
    targets: list[tuple[str | None, list[int]]] = [(None, [1, 2, 3])]
    targets += [(part, [int(part[5:]) * 1000 + n for n in (1, 2)]) for part in table.partitions]
    for target, ids in targets:
        seen = table.rows()
        table.insert(ids, target)
        check(arrivals, table, "INSERT", seen)
        seen = table.rows()
        table.update(target, move=10)
        check(arrivals, table, "UPDATE", {id: seen[id] for id in ids}, move=10)
        seen = table.rows()
        table.delete(target)
        check(arrivals, table, "DELETE", seen)
    if table.partitions:  # from one partition to another, by the table
        source, moved = int(table.partitions[-1][5:]) * 1000, -int(table.partitions[-1][5:]) * 1000 + 500
        table.insert([source + 3])
        arrivals.take()
        seen = table.rows()
        table.update(move=moved)
        check(arrivals, table, "UPDATE", seen, move=moved)
        table.delete()
        arrivals.take()
