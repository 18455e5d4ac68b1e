"""The tables of docs/reference/sql.md, from the catalog of a database: what a project's role may use in it.

To write them anew: `WRITE_REFERENCE=1 pytest tests/docs/test_sql_reference.py`.
"""

from __future__ import annotations

import re
from typing import Any

import psycopg

from tests.platform import REPOSITORY

PAGE = REPOSITORY / "docs" / "reference" / "sql.md"
ROLE = "zmesh_project"
MARKER = re.compile(r"<!-- from the database: (?P<name>\w+) -->\n(?P<text>.*?)<!-- end -->", re.S)
# The others are granted because triggers and views call them as the project's role; they may change in any release.
FOR_USERS = ("on_change", "off_change", "cron_next", "cron_preview", "run_schedule", "now")
RELATIONS = """
select c.oid, c.relname as name, obj_description(c.oid, 'pg_class') as comment,
       has_table_privilege(%(role)s, c.oid, 'delete') as may_delete
  from pg_class c
 where c.relnamespace = 'zmesh'::regnamespace and c.relkind in ('r', 'v', 'p') and not c.relispartition
   and has_any_column_privilege(%(role)s, c.oid, 'select, insert, update')
 order by c.relname"""
COLUMNS = """
select a.attname as name, format_type(a.atttypid, a.atttypmod) as type,
       col_description(a.attrelid, a.attnum) as comment,
       has_column_privilege(%(role)s, a.attrelid, a.attnum, 'insert') as may_set
  from pg_attribute a
 where a.attrelid = %(relation)s and a.attnum > 0 and not a.attisdropped
   and has_column_privilege(%(role)s, a.attrelid, a.attnum, 'select, insert')
 order by a.attnum"""
FUNCTIONS = """
select p.proname as name, pg_get_function_arguments(p.oid) as arguments, pg_get_function_result(p.oid) as result,
       obj_description(p.oid, 'pg_proc') as comment
  from pg_proc p
 where p.pronamespace = 'zmesh'::regnamespace and p.prorettype <> 'trigger'::regtype
   and has_function_privilege(%(role)s, p.oid, 'execute')
 order by p.proname"""
SAME_AS_INVOCATIONS = "dead_invocations"


def parts(connection: psycopg.Connection[dict[str, Any]]) -> dict[str, str]:
    """The text between each pair of markers."""
    functions = connection.execute(FUNCTIONS, {"role": ROLE}).fetchall()
    return {
        "functions": _functions([one for one in functions if one["name"] in FOR_USERS]),
        "internal": ", ".join(f"`{name}`" for name in sorted({one["name"] for one in functions} - set(FOR_USERS)))
        + "\n",
        "relations": "\n".join(
            _relation(connection, one) for one in connection.execute(RELATIONS, {"role": ROLE}).fetchall()
        ),
    }


def _functions(functions: list[dict[str, Any]]) -> str:
    rows = []
    for one in functions:
        assert one["comment"], f"zmesh.{one['name']} has no comment"
        call = f"zmesh.{one['name']}({_short(one['arguments'])})"
        rows.append(f"| `{call}` | `{_short(one['result'])}` | {_cell(one['comment'])} |")
    return "\n".join(["| function | returns | |", "|---|---|---|", *rows, ""])


def _relation(connection: psycopg.Connection[dict[str, Any]], relation: dict[str, Any]) -> str:
    assert relation["comment"], f"zmesh.{relation['name']} has no comment"
    columns = connection.execute(COLUMNS, {"role": ROLE, "relation": relation["oid"]}).fetchall()
    if relation["name"] == SAME_AS_INVOCATIONS:
        return f"### zmesh.{relation['name']}\n\n{relation['comment']} Its columns are those of `zmesh.invocations`.\n"
    undescribed = [one["name"] for one in columns if not one["comment"]]
    assert not undescribed, f"columns of zmesh.{relation['name']} without a comment: {undescribed}"
    rows = [
        f"| `{one['name']}` | `{_short(one['type'])}` | {'✓' if one['may_set'] else ''} | {_cell(one['comment'])} |"
        for one in columns
    ]
    also = " You may delete rows of it." if relation["may_delete"] else ""
    title = f"### zmesh.{relation['name']}\n\n{relation['comment']}{also}\n"
    return "\n".join([title, "| column | type | you may set it | |", "|---|---|---|---|", *rows, ""])


def _short(type: str) -> str:
    """As people write it."""
    text = type.replace("timestamp with time zone", "timestamptz").replace(" DEFAULT ", " default ")
    return re.sub(r"::\w+(\[\])?", "", text)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def written(page: str, tables: dict[str, str]) -> str:
    """The page with these tables."""
    return MARKER.sub(
        lambda found: f"<!-- from the database: {found['name']} -->\n\n{tables[found['name']]}\n<!-- end -->", page
    )
