"""The tables and views that a role sees, with the types of their columns. Runs on a connection of that role."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
from psycopg.rows import class_row

# Domains are followed to the type below them. Arrays of types that are not PostgreSQL's own are read as text: see
# docs/reference/values.md.
_COLUMNS = """
select n.nspname as schema, c.relname as "table", n.nspname = current_schema() as is_own,
       c.relkind in ('v', 'm') as is_view, pg_relation_is_updatable(c.oid, true) & 8 > 0 as is_insertable,
       a.attname as name,
       not (a.attnotnull or d.is_not_null) or c.relkind in ('v', 'm') as is_nullable,
       a.atthasdef or a.attidentity <> '' or d.has_default or c.relkind = 'v' as has_default,
       a.attgenerated <> '' or a.attidentity = 'a' as is_generated,
       format_type(a.atttypid, a.atttypmod) as declared, coalesce(e.typname, b.typname) as type,
       e.oid is not null as is_array,
       b.typtype::text as kind,
       array(select l.enumlabel::text from pg_enum l where l.enumtypid = b.oid order by l.enumsortorder) as labels
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
 cross join lateral (
      with recursive chain as (
          select t.oid, t.typtype, t.typbasetype, t.typnotnull, t.typdefault is not null as has_default
            from pg_type t where t.oid = a.atttypid
           union all
          select t.oid, t.typtype, t.typbasetype, t.typnotnull, t.typdefault is not null
            from chain k join pg_type t on t.oid = k.typbasetype where k.typtype = 'd')
      select bool_or(typnotnull) as is_not_null, bool_or(has_default) as has_default,
             max(oid) filter (where typtype <> 'd') as base
        from chain) d
  join pg_type b on b.oid = d.base
  left join pg_type e on e.typarray = b.oid and e.typnamespace = 'pg_catalog'::regnamespace
 where c.relkind in ('r', 'p', 'v', 'm', 'f') and not c.relispartition
   and n.nspname not in ('information_schema', 'zmesh', 'zmesh_roles') and n.nspname !~ '^pg_'
   and has_schema_privilege(n.oid, 'usage') and has_any_column_privilege(c.oid, 'select, insert, update')
   and not (n.nspname = current_schema() and c.relname = 'zmesh_migrations')
 order by n.nspname <> current_schema(), n.nspname, c.relname, a.attnum
"""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table or view. `type` is PostgreSQL's name of its type, of an element's if `is_array`; `kind` is
    pg_type.typtype, and `labels` are those of an enum. `is_generated`: nobody can write it."""

    schema: str
    table: str
    is_own: bool
    is_view: bool
    is_insertable: bool
    name: str
    is_nullable: bool
    has_default: bool
    is_generated: bool
    declared: str
    type: str
    is_array: bool
    kind: str
    labels: list[str]


@dataclass(frozen=True, slots=True)
class Table:
    """A table or view, by the name that zmesh.db takes: of another schema than the role's own, with that schema."""

    name: str
    columns: list[Column]

    @property
    def is_insertable(self) -> bool:
        return self.columns[0].is_insertable


def describe_tables(connection: psycopg.Connection) -> list[Table]:
    """The role's own first, then by schema and name. Tables with a dot in their name, which zmesh.db would split, are
    left out."""
    with connection.cursor(row_factory=class_row(Column)) as cursor:
        columns = cursor.execute(_COLUMNS.encode()).fetchall()
    tables: dict[tuple[str, str], Table] = {}
    for column in columns:
        if "." in column.schema + column.table:
            continue
        name = column.table if column.is_own else f"{column.schema}.{column.table}"
        tables.setdefault((column.schema, column.table), Table(name, [])).columns.append(column)
    return list(tables.values())
