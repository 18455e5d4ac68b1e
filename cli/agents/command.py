"""The commands that serve agents. What speaks their protocol takes seconds to load: only when it is needed."""

from __future__ import annotations

import sys

import click

from cli.client import Client
from cli.connecting import connected
from cli.database.connecting import database_option
from cli.output import progress


@click.command()
@click.option("--sql-writes", is_flag=True, help="Also offer a tool that changes the project's database, with a plan.")
@database_option
@connected
def mcp(client: Client, database_url: str | None, sql_writes: bool) -> None:
    """Serve the Model Context Protocol on stdin and stdout, for editors and agents.

    Its tools read, test, deploy and roll back functions, with the permissions of your credentials. What changes
    something answers with a plan first.
    """
    from cli.agents.server import server

    if sys.stdin.isatty():
        progress("Waiting for an MCP client on standard input; Ctrl+D ends. Editors and agents start this command.")
    server(client, database_url, sql_writes=sql_writes).run()


@click.command()
def api() -> None:
    """Run an API process, configured by environment variables."""
    from cli.agents.serving import main

    sys.exit(main())
