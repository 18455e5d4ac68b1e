"""`zmesh changes`: list, create and delete."""

from __future__ import annotations

import urllib.parse
from typing import Any

import rich_click as click

from cli.client import Client
from cli.connecting import connected, find_function, look_up_function
from cli.output import output_option, print_json, print_table, style

EVENTS = ["INSERT", "UPDATE", "DELETE"]


@click.group()
def changes() -> None:
    """Invoke functions with the changed rows of tables."""


@changes.command("list")
@output_option
@connected
def list_changes(client: Client, output: str) -> None:
    """List the tables whose changes are passed on, and to which functions."""
    found = list(client.items("/changes"))
    if output == "json":
        print_json(found)
        return
    rows = [
        [
            change["table"],
            change["function"] + ("" if change["function_id"] else " (deleted)"),
            ", ".join(change["events"]),
            ", ".join(change["columns"] or []),
            change["when"] or "",
        ]
        for change in found
    ]
    headings = ("table", "function", "events", "columns", "when")
    print_table(headings, rows, "No changes are passed on yet. Begin: zmesh changes create my_table my-function")


@changes.command("create")
@click.argument("table")
@click.argument("function")
@click.option(
    "--event",
    "events",
    multiple=True,
    type=click.Choice(EVENTS, case_sensitive=False),
    help="What to pass on; may be repeated. Default: all three.",
)
@click.option("--when", metavar="SQL", help='Only rows for which this is true, such as "new.total > 100".')
@click.option("--column", "columns", multiple=True, help="Only updates that change this column; may be repeated.")
@output_option
@connected
def create(
    client: Client,
    table: str,
    function: str,
    events: tuple[str, ...],
    when: str | None,
    columns: tuple[str, ...],
    output: str,
) -> None:
    """Invoke FUNCTION with each row of TABLE that is changed. Replaces what was there for the two."""
    wanted: dict[str, Any] = {"table": table, "function_id": find_function(client, function)["id"], "when": when}
    wanted |= {"events": list(events or EVENTS), "columns": list(columns) or None}
    made = client.call("POST", "/changes", wanted).body
    if output == "json":
        print_json(made)
    else:
        click.echo(f"{', '.join(made['events'])} of {style(made['table'], bold=True)} → {made['function']}")


@changes.command("delete")
@click.argument("table")
@click.argument("function")
@output_option
@connected
def delete(client: Client, table: str, function: str, output: str) -> None:
    """Stop passing the changes of TABLE on to FUNCTION, which may have been deleted already."""
    found = look_up_function(client, function)
    slug = found["slug"] if found else function
    client.call("DELETE", f"/changes?{urllib.parse.urlencode({'table': table, 'function_id': slug})}")
    if output == "json":
        print_json({"action": "deleted", "table": table, "function": slug})
    else:
        click.echo(f"deleted {table} → {slug}")
