"""What a database consists of, as its catalogs tell it: to compare two that came about in different ways."""

from __future__ import annotations

import re
from typing import Any

import psycopg

from tests.databases import Row

# Partitions for periods are named after dates, which differ; they are made like history and logs.
RELATIONS = """
    select * from pg_class
     where relnamespace in ('zmesh'::regnamespace, 'zmesh_roles'::regnamespace)
       and relname !~ '^(history|logs)_[0-9]{8}'
"""
QUERIES = {
    "schemas": """
        select n.nspname, n.nspowner::regrole::text, a.grantee::regrole::text, a.privilege_type
          from pg_namespace n cross join aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
         where n.nspname in ('zmesh', 'zmesh_roles')
    """,
    "relations": f"""
        select c.relname, c.relkind::text, c.relowner::regrole::text, c.relpersistence::text, c.relrowsecurity,
               c.relforcerowsecurity, array_to_string(c.reloptions, ', '), obj_description(c.oid, 'pg_class'),
               pg_get_partkeydef(c.oid), pg_get_expr(c.relpartbound, c.oid), i.inhparent::regclass::text
          from ({RELATIONS}) c left join pg_inherits i on i.inhrelid = c.oid
         where c.relkind <> 'i' and c.relkind <> 'I'
    """,
    "columns": f"""
        select c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attstorage::text,
               a.attidentity::text, a.attgenerated::text, a.attcollation::regcollation::text,
               pg_get_expr(d.adbin, d.adrelid), col_description(c.oid, a.attnum),
               case when c.relkind = 'c' then a.attnum end
          from ({RELATIONS}) c join pg_attribute a on a.attrelid = c.oid
          left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
         where a.attnum > 0 and not a.attisdropped and c.relkind <> 'i' and c.relkind <> 'I'
    """,
    "constraints": f"""
        select c.relname, k.conname, k.convalidated, k.conislocal, pg_get_constraintdef(k.oid),
               obj_description(k.oid, 'pg_constraint')
          from ({RELATIONS}) c join pg_constraint k on k.conrelid = c.oid where k.contype <> 'n'
    """,
    "indexes": f"""
        select pg_get_indexdef(c.oid), array_to_string(c.reloptions, ', '), x.indisprimary, x.indisvalid
          from ({RELATIONS}) c join pg_index x on x.indexrelid = c.oid
    """,
    "rights on tables": f"""
        select c.relname, a.grantor::regrole::text, a.grantee::regrole::text, a.privilege_type, a.is_grantable
          from ({RELATIONS}) c
          cross join aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) a where c.relkind <> 'c'
    """,
    "rights on columns": f"""
        select c.relname, t.attname, a.grantee::regrole::text, a.privilege_type, a.is_grantable
          from ({RELATIONS}) c join pg_attribute t on t.attrelid = c.oid cross join aclexplode(t.attacl) a
    """,
    "rights on types": """
        select t.typname, obj_description(t.oid, 'pg_type'), a.grantee::regrole::text, a.privilege_type
          from pg_type t cross join aclexplode(coalesce(t.typacl, acldefault('T', t.typowner))) a
         where t.oid in ('zmesh.outcome'::regtype, 'zmesh.cron_plan'::regtype)
    """,
    "rights on what comes": """
        select d.defaclrole::regrole::text, d.defaclobjtype::text, a.grantee::regrole::text, a.privilege_type
          from pg_default_acl d cross join aclexplode(d.defaclacl) a
    """,
    "policies": """
        select tablename, policyname, permissive, roles::text, cmd, qual, with_check from pg_policies
         where schemaname = 'zmesh'
    """,
    "triggers": f"""
        select c.relname, pg_get_triggerdef(t.oid), t.tgenabled::text
          from ({RELATIONS}) c join pg_trigger t on t.tgrelid = c.oid where not t.tgisinternal
    """,
    "views": f"select c.relname, pg_get_viewdef(c.oid) from ({RELATIONS}) c where c.relkind = 'v'",
    # Before PostgreSQL 18 there is one more, which a superuser installs.
    "functions": """
        select p.oid::regprocedure::text, p.proowner::regrole::text, pg_get_functiondef(p.oid),
               p.prosqlbody is not null, obj_description(p.oid, 'pg_proc')
          from pg_proc p where p.pronamespace in ('zmesh'::regnamespace, 'zmesh_roles'::regnamespace)
           and p.proname <> 'end_autovacuum_worker'
    """,
    "rights on functions": """
        select p.oid::regprocedure::text, a.grantee::regrole::text, a.privilege_type, a.is_grantable
          from pg_proc p cross join aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
         where p.pronamespace in ('zmesh'::regnamespace, 'zmesh_roles'::regnamespace)
           and p.proname <> 'end_autovacuum_worker'
    """,
    "settings": "select to_jsonb(s)::text from zmesh.settings s",
}
Catalogs = dict[str, set[tuple[Any, ...]]]


def catalogs_of(connection: psycopg.Connection[Row]) -> Catalogs:
    """Rows about everything in the platform's schemas, by kind."""
    rows = {kind: connection.execute(query.encode()).fetchall() for kind, query in QUERIES.items()}
    catalogs = {kind: {tuple(row.values()) for row in found} for kind, found in rows.items()}
    catalogs["functions"] = {_in_any_order(row) for row in catalogs["functions"]}
    catalogs["views"] = {(name, *_words(text)) for name, text in catalogs["views"]}
    return catalogs


def _in_any_order(function: tuple[Any, ...]) -> tuple[Any, ...]:
    """The text of a function, in one that PostgreSQL has parsed as words: its `select t.*` has the table's order."""
    name, owner, text, parsed, comment = function
    return (name, owner, comment, *(_words(text) if parsed else [text]))


def _words(text: str) -> list[str]:
    return sorted(re.findall(r"[^\s,()]+", text))


def differences(before: Catalogs, after: Catalogs) -> list[str]:
    """One line for each row that only one side has."""
    return [
        f"{sign} {kind}: {row}"
        for kind in QUERIES
        for sign, rows in (("-", before[kind] - after[kind]), ("+", after[kind] - before[kind]))
        for row in sorted(rows, key=str)
    ]
