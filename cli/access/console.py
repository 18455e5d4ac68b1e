"""The web console: a link that signs a browser in."""

from __future__ import annotations

import os
import sys
import webbrowser
from pathlib import Path

import click

from cli.client import Client
from cli.connecting import connected
from cli.output import print_json, progress

PAGES = Path(__file__).parents[2] / "console" / "dist" / "index.html"


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


@click.command("open")
@connected
def open_in_browser(client: Client) -> None:
    """Open the web console in your browser, signed in; without a browser, print the link."""
    link = sign_in_link(client)
    if not _has_browser() or not webbrowser.open(link):
        click.echo(link)
        progress("The link works once, within fifteen minutes.")


def _has_browser() -> bool:
    """Whether one would open a window, and not take over this terminal or wait for nobody."""
    names = ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY")
    return sys.stdout.isatty() and (sys.platform == "darwin" or any(os.environ.get(name) for name in names))


def is_built() -> bool:
    """Whether this installation has the console's pages."""
    return PAGES.is_file()


def sign_in_link(client: Client) -> str:
    """The address of the console with a new sign-in link. Raises CliError."""
    path: str = client.call("POST", "/auth/links").body["path"]
    return f"{client.connection.url}{path}"
