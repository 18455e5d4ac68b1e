"""`zmesh callbacks`: the secret that callbacks are signed with."""

from __future__ import annotations

import click

from cli.client import Client
from cli.connecting import connected
from cli.groups import Group
from cli.output import local_time, output_option, print_json, progress


@click.group(cls=Group)
def callbacks() -> None:
    """Manage the secret that signs callbacks."""


@callbacks.command("rotate")
@click.option(
    "--grace",
    type=int,
    default=86400,
    show_default=True,
    metavar="SECONDS",
    help="How long the old secret keeps signing.",
)
@output_option
@connected
def rotate(client: Client, grace: int, output: str) -> None:
    """Create a new secret for the callbacks of the project and show it. It is not shown again.

    Receivers verify callbacks with it. For a while callbacks are signed with the old secret, too.
    """
    created = client.call("POST", "/callbacks/secret/rotate", {"grace_seconds": grace}).body
    if output == "json":
        print_json(created)
        return
    click.echo(created["secret"])
    if created["previous_secret_valid_until"] is not None:
        progress(f"The previous secret also signs until {local_time(created['previous_secret_valid_until'])}.")
    progress("The secret is not shown again.")
