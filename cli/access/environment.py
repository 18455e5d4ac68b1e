"""`zmesh env`: the variables that the examples of the documentation use."""

from __future__ import annotations

import os
import shlex
import subprocess
from contextlib import suppress
from pathlib import Path

import click

from cli.client import ApiError, Client
from cli.connecting import connected
from cli.output import print_json, progress


@click.command()
@click.option(
    "--output",
    type=click.Choice(["shell", "fish", "json"]),
    help="What to print. Default: shell, or fish if that is the shell that runs the command.",
)
@connected
def env(client: Client, output: str | None) -> None:
    """Print ZMESH_URL, ZMESH_TOKEN, ZMESH_API_KEY and ZMESH_DATABASE_URL for a shell: eval "$(zmesh env)".

    Variables whose value is unknown are unset. The token is valid for fifteen minutes (zmesh dev: twelve hours). With
    --project the API key is unknown, and only owners get the database.
    """
    client.call("GET", "/projects?limit=1")  # renews a token that ran out
    own = client.project is None  # a key and a database that are stored belong to the project of the login
    variables = {
        "ZMESH_URL": client.connection.url,
        "ZMESH_TOKEN": client.token(),
        "ZMESH_API_KEY": client.connection.api_key if own else None,
        "ZMESH_DATABASE_URL": client.connection.database_url if own else _database_url(client),
    }
    found = {name: value for name, value in variables.items() if value}
    if output == "json":
        print_json(found)
        return
    is_fish = output == "fish" or (output is None and _is_run_by_fish())
    for name, value in found.items():
        click.echo(f"set -gx {name} {_quoted_for_fish(value)}" if is_fish else f"export {name}={shlex.quote(value)}")
    for name in variables.keys() - found.keys():  # an older value would be that of another project or platform
        click.echo(f"{'set -e' if is_fish else 'unset'} {name}")
        progress(f"{name} is not set: its value is unknown.")


def _database_url(client: Client) -> str | None:
    try:
        return str(client.call("GET", f"/projects/{client.project_id()}/database").body["database_url"])
    except ApiError as error:
        if error.code != "forbidden":
            raise
        return None


def _quoted_for_fish(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _is_run_by_fish() -> bool:
    ps = ["ps", "-o", "comm=", "-p", str(os.getppid())]
    try:
        return Path(f"/proc/{os.getppid()}/comm").read_text().strip() == "fish"
    except OSError:  # not on Linux
        with suppress(OSError, subprocess.SubprocessError):
            shown = subprocess.run(ps, capture_output=True, text=True, check=True).stdout
            return shown.strip().rpartition("/")[2].removeprefix("-") == "fish"
    return False
