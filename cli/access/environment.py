"""`zmesh env`: the variables that the examples of the documentation use."""

from __future__ import annotations

import shlex

import click

from cli.client import ApiError, Client
from cli.connecting import connected
from cli.output import print_json, progress


@click.command()
@click.option(
    "--output", type=click.Choice(["shell", "json"]), default="shell", show_default=True, help="What to print."
)
@connected
def env(client: Client, output: str) -> None:
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
    for name, value in found.items():
        click.echo(f"export {name}={shlex.quote(value)}")
    for name in variables.keys() - found.keys():
        click.echo(f"unset {name}")  # an older value would be that of another project or platform
        progress(f"{name} is not set: its value is unknown.")


def _database_url(client: Client) -> str | None:
    try:
        return str(client.call("GET", f"/projects/{client.project_id()}/database").body["database_url"])
    except ApiError as error:
        if error.code != "forbidden":
            raise
        return None
