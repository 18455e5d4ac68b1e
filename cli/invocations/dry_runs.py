"""What a dry run would have changed, as people read it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cli.client import ApiError, Client
from cli.output import progress, style

MOST_SHOWN = 20
LONGEST_VALUE = 60
MARKS = {"insert": ("+", "green"), "update": ("~", "yellow"), "delete": ("-", "red")}
Changes = Mapping[str, Any]


def changes_of(client: Client, invocation_id: str) -> Changes | None:
    """What a dry run that has ended would have changed; None where that is not known. Raises CliError."""
    try:
        found: Changes = client.call("GET", f"/invocations/{invocation_id}/changes").body
    except ApiError as error:
        if error.code != "no_changes":
            raise
        return None
    return found


def show_changes(changes: Changes | None) -> None:
    """Rows before and after, and what is not listed, on stderr."""
    if changes is None or changes["note"]:
        progress(style(changes["note"] if changes else "Its changes are not known.", fg="yellow"))
        return
    if not changes["tables"]:
        progress(style("dry run: it would have changed nothing in the database", dim=True))
        return
    progress(style("dry run: everything was rolled back; it would have changed", dim=True))
    for row in changes["rows"][:MOST_SHOWN]:
        mark, colour = MARKS[row["operation"]]
        progress(f"  {style(mark, fg=colour, bold=True)} {style(row['table'], bold=True)} {_row(row)}")
    if changes["truncated"] or len(changes["rows"]) > MOST_SHOWN:
        progress(style("  … and more rows; --output json has up to 100", dim=True))
    for table in changes["tables"]:
        if not table["listed"]:
            counts = ", ".join(f"{table[what]} {what}" for what in ("inserted", "updated", "deleted") if table[what])
            progress(f"  {style(table['table'], bold=True)} {counts} {style('(rows not listed)', dim=True)}")


def _row(row: Mapping[str, Any]) -> str:
    old, new = row["old"], row["new"]
    if row["operation"] != "update":
        return "  ".join(f"{name}={_value(value)}" for name, value in (new or old).items())
    changed = [f"{name}: {_value(old.get(name))} → {_value(new[name])}" for name in new if old.get(name) != new[name]]
    identity = [f"id={_value(new['id'])}"] if "id" in new and old.get("id") == new["id"] else []
    return "  ".join([*identity, *(changed or ["the same values"])])


def _value(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"
