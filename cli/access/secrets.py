"""`zmesh secrets`: list, set and delete."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeVar

import click

from cli.client import Client, quoted
from cli.completing import names_of
from cli.connecting import connected, find_function
from cli.groups import Group
from cli.output import ago, output_option, print_json, print_table, style
from cli.prompts import ask_secret

Command = TypeVar("Command", bound=Callable[..., Any])
NAME = re.compile("[A-Za-z_][A-Za-z0-9_]{0,127}")


@click.group(cls=Group)
def secrets() -> None:
    """Manage secret values for functions."""


def function_option(command: Command) -> Command:
    """Adds --function."""
    return click.option("--function", help="Only for this function. Default: for every function of the project.")(
        command
    )


def _path(client: Client, function: str | None) -> str:
    return "/secrets" if function is None else f"/functions/{find_function(client, function)['id']}/secrets"


@secrets.command("list")
@function_option
@output_option
@connected
def list_secrets(client: Client, function: str | None, output: str) -> None:
    """List the names of secrets. Values are never shown."""
    found = list(client.items(_path(client, function)))
    if output == "json":
        print_json(found)
        return
    rows = [[secret["name"], ago(secret["updated_at"])] for secret in found]
    print_table(("secret", "set"), rows, "No secrets yet. Set one: zmesh secrets set NAME")


@secrets.command("set")
@click.argument("name")
@function_option
@output_option
@connected
def set_secret(client: Client, name: str, function: str | None, output: str) -> None:
    """Set a secret. Prompts for the value, or reads it from standard input. Applies from the next run on."""
    if "=" in name:
        name = name.partition("=")[0]
        raise click.UsageError(
            f"Give the name only, since other users can see arguments: zmesh secrets set {name} prompts for the value, "
            f"or reads it from standard input (zmesh secrets set {name} < file)."
        )
    if not NAME.fullmatch(name):
        raise click.BadParameter(
            f'"{name}" is not a valid name: use at most 128 letters, digits and _, not starting with a digit.',
            param_hint="NAME",
        )
    path = _path(client, function)
    secret = client.call("PUT", f"{path}/{quoted(name)}", {"value": ask_secret("Value")}).body
    if output == "json":
        print_json(secret)
    else:
        click.echo(f"set {style(name, bold=True)}")


@secrets.command("delete")
@click.argument("name", shell_complete=names_of("secrets"))
@function_option
@output_option
@connected
def delete(client: Client, name: str, function: str | None, output: str) -> None:
    """Delete a secret."""
    client.call("DELETE", f"{_path(client, function)}/{quoted(name)}")
    if output == "json":
        print_json({"action": "deleted", "name": name})
    else:
        click.echo(f"deleted {name}")
