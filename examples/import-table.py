"""Imports CSV or JSON into a table. Creates the table when there is none; column types come from the data.

Payload, one of:
    {"table": "airports", "csv": "iata,name\\nJFK,John F Kennedy Intl\\n"}
    {"table": "movies", "rows": [{"Title": "Alien", "IMDB Rating": 8.5}]}
and, if wanted:
    "types": {"release_date": "date"}    a PostgreSQL type for a column, instead of the one found
    "replace": true                      drop the table first
"""

import csv
import io
import json
import re

WHOLE = re.compile(r"-?(0|[1-9]\d{0,17})")  # "007" is not a number: its zeros mean something
DECIMAL = re.compile(r"-?(0|[1-9]\d*)\.\d+")
TYPE_NAME = re.compile(r"[a-z][a-z0-9 ]*(\(\d+(,\d+)?\))?")


def handler(payload, zmesh):
    if "table" not in payload:
        return zmesh.response({"error": "missing in the payload: table"}, status=422)
    table = column_name(payload["table"])
    rows = [{column_name(key): value for key, value in row.items()} for row in read_rows(payload)]
    if not rows:
        raise ValueError("there are no rows to import")
    types = column_types(rows, payload.get("types", {}))
    columns = ", ".join(f'"{name}"' for name in types)
    definitions = ", ".join(f'"{name}" {kind}' for name, kind in types.items())

    # One transaction: either every row is there afterwards, or the table is as it was.
    with zmesh.db.transaction() as transaction:
        if payload.get("replace"):
            transaction.query(f'drop table if exists "{table}" cascade')
        transaction.query(f'create table if not exists "{table}" ({definitions})')
        # PostgreSQL turns the JSON into rows of the table's own types, all of them in one statement.
        transaction.query(
            f'insert into "{table}" ({columns})'
            f' select {columns} from jsonb_populate_recordset(null::"{table}", %s::jsonb)',
            [json.dumps(rows)],
        )
    print(f"imported {len(rows)} rows into {table}")
    return {"table": table, "rows": len(rows), "columns": types}


def read_rows(payload):
    if "csv" in payload:
        return list(read_csv(payload["csv"]))
    return payload["rows"]


def read_csv(text):
    reader = csv.DictReader(io.StringIO(text))
    for row in reader:
        if None in row or None in row.values():
            raise ValueError(f"line {reader.line_num} has another number of fields than the header")
        yield {name: csv_value(value) for name, value in row.items()}


def csv_value(text):
    """CSV knows text only: find the numbers and the missing values in it."""
    if text == "":
        return None
    if WHOLE.fullmatch(text):
        return int(text)
    if DECIMAL.fullmatch(text):
        return float(text)
    return text


def column_name(text):
    """A plain lower-case name, pleasant to type in SQL: "IMDB Rating" becomes imdb_rating."""
    name = re.sub(r"\W+", "_", str(text), flags=re.ASCII).strip("_").lower()
    if not name or name[0].isdigit():
        raise ValueError(f"{text!r} cannot be the name of a table or column")
    return name


def column_types(rows, wanted):
    for name, kind in wanted.items():
        if not TYPE_NAME.fullmatch(kind):
            raise ValueError(f"{kind!r} for column {name} is not a type")
    names = dict.fromkeys(name for row in rows for name in row)  # in order, each once
    return {name: wanted.get(name) or column_type([row.get(name) for row in rows]) for name in names}


def column_type(values):
    kinds = {type(value) for value in values if value is not None}
    if kinds == {bool}:
        return "boolean"
    if kinds == {int}:
        return "bigint"
    if kinds and kinds <= {int, float}:
        return "double precision"
    if kinds & {dict, list}:
        return "jsonb"
    return "text"
