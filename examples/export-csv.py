"""Answers with a table of the project as a CSV file to download.

Payload: {"table": "genre_report", "limit": 1000}
"""

import csv
import io


def handler(payload, zmesh):
    if "table" not in payload:
        return zmesh.response({"error": "missing in the payload: table"}, status=422)
    table, limit = payload["table"], min(int(payload.get("limit", 1000)), 100_000)
    known = zmesh.db.query_one("select 1 from pg_tables where schemaname = current_schema and tablename = %s", [table])
    if known is None:
        return zmesh.response({"error": f"there is no table {table}"}, status=404)

    rows = zmesh.db.select(table, "true order by 1 limit %s", [limit])
    text = io.StringIO(newline="")
    if rows:
        writer = csv.DictWriter(text, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return zmesh.response(
        text.getvalue(),
        headers={
            "content-type": "text/csv; charset=utf-8",
            "content-disposition": f'attachment; filename="{table}.csv"',
        },
    )
