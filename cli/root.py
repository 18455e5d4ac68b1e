"""The `zmesh` command itself: the group of all others, which are imported one by one."""

from __future__ import annotations

import click

from cli.commands import COMMANDS
from cli.lazy import LazyGroup
from cli.overview import overview


class Root(LazyGroup):
    """Its help is the overview."""

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The overview, as `zmesh --help` prints it without this module."""
        formatter.write(overview())


@click.group(cls=Root, places=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="zmesh-functions", prog_name="zmesh")
def zmesh() -> None:
    """Self-hosted functions whose only server is PostgreSQL."""
