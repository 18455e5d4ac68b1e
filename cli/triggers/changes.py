"""`zmesh changes`: list, create and delete."""

from __future__ import annotations

import urllib.parse
from typing import Any

import click

from cli.client import Client
from cli.completing import names_of
from cli.connecting import connected, find_function, look_up_function
from cli.groups import Group
from cli.output import output_option, print_json, print_table, style

EVENTS = ["INSERT", "UPDATE", "DELETE"]


@click.group(cls=Group)
def changes() -> None:
    """Invoke functions on changes of tables."""


@changes.command("list")
@output_option
@connected
def list_changes(client: Client, output: str) -> None:
    """List the tables whose changes invoke functions."""
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
    print_table(headings, rows, "No table changes yet. Create one: zmesh changes create my_table my-function")


@changes.command("create")
@click.argument("table")
@click.argument("function", shell_complete=names_of("functions"))
@click.option(
    "--event",
    "events",
    multiple=True,
    type=click.Choice(EVENTS, case_sensitive=False),
    help="Event that invokes the function; repeatable. Default: all three.",
)
@click.option("--when", metavar="SQL", help='Only rows for which this is true, such as "new.total > 100".')
@click.option("--column", "columns", multiple=True, help="Only updates that change this column; repeatable.")
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
    """Invoke FUNCTION for each changed row of TABLE. Replaces an existing table change of both."""
    body: dict[str, Any] = {"table": table, "function_id": find_function(client, function)["id"], "when": when}
    body |= {"events": list(events or EVENTS), "columns": list(columns) or None}
    created = client.call("POST", "/changes", body).body
    if output == "json":
        print_json(created)
    else:
        click.echo(f"{', '.join(created['events'])} of {style(created['table'], bold=True)} → {created['function']}")


@changes.command("delete")
@click.argument("table")
@click.argument("function", shell_complete=names_of("functions"))
@output_option
@connected
def delete(client: Client, table: str, function: str, output: str) -> None:
    """Stop invoking FUNCTION, which may already be deleted, on changes of TABLE."""
    found = look_up_function(client, function)
    slug = found["slug"] if found else function
    client.call("DELETE", f"/changes?{urllib.parse.urlencode({'table': table, 'function_id': slug})}")
    if output == "json":
        print_json({"action": "deleted", "table": table, "function": slug})
    else:
        click.echo(f"deleted {table} → {slug}")
