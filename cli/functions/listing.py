"""`zmesh functions list`, which imports little and so answers at once."""

from __future__ import annotations

import click

from cli.client import Client
from cli.connecting import connected
from cli.output import ago, output_option, print_json, print_table


@click.command("list")
@click.option("--tag", help="Only functions with this tag.")
@output_option
@connected
def list_functions(client: Client, tag: str | None, output: str) -> None:
    """List the functions of the project."""
    found = list(client.items("/functions", code="false", **({"tag": tag} if tag else {})))
    if output == "json":
        without = ("code", "files")
        print_json([{key: value for key, value in function.items() if key not in without} for function in found])
        return
    rows = [
        [
            function["slug"],
            function["language"],
            str(function["version"]),
            f"{function['timeout_ms'] / 1000:g} s",
            f"{function['memory_mb']} MB",
            ago(function["updated_at"]) + ("" if function["enabled"] else ", disabled"),
        ]
        for function in found
    ]
    headings = ("function", "language", "version", "timeout", "memory", "updated")
    print_table(headings, rows, "No functions yet. Deploy one: zmesh init hello && zmesh deploy hello")
