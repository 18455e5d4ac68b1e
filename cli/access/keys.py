"""`zmesh keys`: list, create and revoke."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import click

from cli.client import Client
from cli.completing import names_of
from cli.connecting import connected
from cli.errors import CliError
from cli.groups import Group
from cli.output import ago, local_time, output_option, print_json, print_table, progress


@click.group(cls=Group)
def keys() -> None:
    """Manage the API keys of the project."""


@keys.command("list")
@output_option
@connected
def list_keys(client: Client, output: str) -> None:
    """List the API keys by prefix, the newest first."""
    found = list(client.items("/keys"))
    if output == "json":
        print_json(found)
        return
    rows = [
        [
            key["prefix"] + "…",
            key["name"],
            key["scope"],
            "all" if key["functions"] is None else ", ".join(key["functions"]) or "none (deleted)",
            ago(key["last_used_at"]) if key["last_used_at"] else "never",
            _state(key),
        ]
        for key in found
    ]
    print_table(
        ("key", "name", "scope", "functions", "last used", ""), rows, "No keys yet. Create one: zmesh keys create NAME"
    )


def _state(key: dict[str, Any]) -> str:
    if key["revoked_at"]:
        return f"revoked {local_time(key['revoked_at'])}"
    if not key["expires_at"]:
        return ""
    over = datetime.fromisoformat(key["expires_at"]) < datetime.now(UTC)
    return f"{'expired' if over else 'until'} {local_time(key['expires_at'])}"


@keys.command("create")
@click.argument("name")
@click.option(
    "--function",
    "functions",
    multiple=True,
    shell_complete=names_of("functions"),
    help="Function that it may use; repeatable. Default: all.",
)
@click.option(
    "--scope",
    type=click.Choice(["invoke", "deploy"]),
    default="invoke",
    show_default=True,
    help="What it may do: invoke functions, or deploy them, for example from CI.",
)
@click.option("--days", type=click.IntRange(1), help="Days until it expires. Default: never.")
@output_option
@connected
def create(client: Client, name: str, functions: tuple[str, ...], scope: str, days: int | None, output: str) -> None:
    """Create a key and print it. It is not shown again."""
    body: dict[str, Any] = {"name": name, "scope": scope}
    if functions:
        body["functions"] = list(functions)
    if days is not None:
        body["expires_at"] = (datetime.now(UTC) + timedelta(days=days)).isoformat()
    key = client.call("POST", "/keys", body).body
    if output == "json":
        print_json(key)
        return
    click.echo(key["key"])
    progress("Store it now: it is not shown again.")


@keys.command("revoke")
@click.argument("key", shell_complete=names_of("keys"))
@output_option
@connected
def revoke(client: Client, key: str, output: str) -> None:
    """Revoke a key by name, id or prefix. It stops working immediately and cannot be restored."""
    found = [k for k in client.items("/keys") if not k["revoked_at"] and _matches(k, key)]
    if len(found) != 1:
        raise CliError(
            f'{"No key is" if not found else f"{len(found)} keys are"} called "{key}".',
            code="key_not_found",
            hint="See `zmesh keys list`, and give the prefix of the key.",
        )
    client.call("DELETE", f"/keys/{found[0]['id']}")
    if output == "json":
        print_json({"action": "revoked", "id": found[0]["id"], "prefix": found[0]["prefix"]})
    else:
        click.echo(f"revoked {found[0]['prefix']}… ({found[0]['name']})")


def _matches(key: dict[str, Any], name: str) -> bool:
    return name in (key["name"], key["id"]) or name.rstrip("…") == key["prefix"]
