"""`zmesh registries`: where the builds of a project find packages."""

from __future__ import annotations

from typing import Any

import click

from cli.client import Client
from cli.connecting import connected
from cli.errors import CliError
from cli.groups import Group
from cli.output import ago, output_option, print_json, print_table, style
from cli.prompts import ask_secret


@click.group(cls=Group)
def registries() -> None:
    """Manage the project's own registries of packages."""


def _shown(registry: dict[str, Any]) -> str:
    return registry["packages"] or "all other packages"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


@registries.command("list")
@output_option
@connected
def list_registries(client: Client, output: str) -> None:
    """List the registries of the project. Tokens are never shown."""
    found = list(client.items("/registries"))
    if output == "json":
        print_json(found)
        return
    rows = [
        [one["runtime"], _shown(one), one["url"], _yes(one["has_token"]), ago(one["updated_at"]), one["id"]]
        for one in found
    ]
    headings = ("runtime", "packages", "url", "token", "set", "id")
    print_table(headings, rows, "No registries: packages come from those of the installation.")


@registries.command("set")
@click.argument("runtime", type=click.Choice(["python", "node"]))
@click.argument("address", metavar="URL")
@click.option(
    "--packages", default="", help="Only these packages: an npm @scope, or a name or prefix-* of Python packages."
)
@click.option("--no-token", is_flag=True, help="The registry needs no token.")
@output_option
@connected
def set_registry(client: Client, runtime: str, address: str, packages: str, no_token: bool, output: str) -> None:
    """Set the registry of all packages, or of some. Owners only.

    Prompts for its token, or reads it from standard input. For a user with a password, name the user in the URL:
    https://user@host/simple. The packages are looked up in this registry and in no other.
    """
    body = {"runtime": runtime, "url": address, "packages": packages}
    if not no_token:
        body["token"] = ask_secret("Token")
    found = client.call("PUT", "/registries", body).body
    if output == "json":
        print_json(found)
    else:
        click.echo(f"The {runtime} registry of {style(_shown(found), bold=True)} is set.")


@registries.command("delete")
@click.argument("id")
@output_option
@connected
def delete(client: Client, id: str, output: str) -> None:
    """Delete a registry, by its id or by the packages it is for. Owners only."""
    found = [one for one in client.items("/registries") if id in (one["id"], one["packages"])]
    if len(found) != 1:
        raise CliError(
            f'There is no registry "{id}".' if not found else f'More than one registry matches "{id}".',
            code="registry_not_found",
            hint="Pass an id from `zmesh registries list`.",
        )
    client.call("DELETE", f"/registries/{found[0]['id']}")
    if output == "json":
        print_json({"action": "deleted", "id": found[0]["id"]})
    else:
        click.echo(f"The {found[0]['runtime']} registry of {_shown(found[0])} is deleted.")
