"""`zmesh callbacks`: the secret that callbacks are signed with."""

from __future__ import annotations

import rich_click as click

from cli.client import Client
from cli.connecting import connected
from cli.output import local_time, output_option, print_json, progress


@click.group()
def callbacks() -> None:
    """Tell others how invocations ended."""


@callbacks.command("rotate")
@click.option(
    "--grace", type=int, default=86400, show_default=True, metavar="SECONDS", help="How long the old one signs, too."
)
@output_option
@connected
def rotate(client: Client, grace: int, output: str) -> None:
    """Make a new secret for the callbacks of the project, and show it, this once.

    A receiver checks with it that a callback is ours. For a while callbacks have a signature by the old one, too.
    """
    made = client.call("POST", "/callbacks/secret/rotate", {"grace_seconds": grace}).body
    if output == "json":
        print_json(made)
        return
    click.echo(made["secret"])
    if made["previous_secret_valid_until"] is not None:
        progress(f"The secret before signs, too, until {local_time(made['previous_secret_valid_until'])}.")
    progress("The secret is shown this once.")
