"""The web console: a link that signs a browser in."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from cli.client import Client
from cli.connecting import connected
from cli.output import print_json, progress

PAGES = Path(__file__).parent.parent / "console" / "dist" / "index.html"


@click.command()
@click.option("--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="What to print.")
@connected
def console(client: Client, output: str) -> None:
    """Print a link that opens the web console and signs you in. It works once, within fifteen minutes."""
    link = sign_in_link(client)
    if output == "json":
        print_json({"url": link})
        return
    click.echo(link)
    progress("The link works once, within fifteen minutes.")


def is_built() -> bool:
    """Whether this installation has the console's pages."""
    return PAGES.is_file()


def sign_in_link(client: Client) -> str:
    """The address of the console with a new sign-in link. Raises CliError."""
    path: str = client.call("POST", "/auth/links").body["path"]
    return f"{client.connection.url}{path}"
