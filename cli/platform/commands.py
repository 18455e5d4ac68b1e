"""The commands that run the platform. They import what they run when they run it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from cli.completing import profile_names
from cli.output import output_option


@click.command()
@click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    default=".zmesh",
    show_default=True,
    envvar="ZMESH_HOME",
    help="Folder of the database, secrets and logs.",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8700,
    show_default=True,
    envvar="ZMESH_PORT",
    help="Port of the API; 0 picks a free one.",
)
@click.option("--no-examples", is_flag=True, help="Do not deploy the examples.")
@click.option("--verbose", is_flag=True, help="Also print the logs of the API and the listener.")
@click.option(
    "--watch",
    "watched",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="Deploy the functions of this folder on every save, and show what they print.",
)
@click.option(
    "--profile",
    shell_complete=profile_names,
    help="With --watch: deploy to this profile's platform instead of starting one.",
)
def dev(home: Path, port: int, no_examples: bool, verbose: bool, watched: Path | None, profile: str | None) -> None:
    """Run the whole platform on this machine: PostgreSQL, an API and a listener.

    With DATABASE_URL set, that PostgreSQL is used instead of a private one.
    """
    if profile is not None:
        from cli.platform.watching_there import watch_there

        if watched is None:
            raise click.UsageError("--profile needs --watch DIR: it names the platform to which saves are deployed.")
        watch_there(profile, watched)
        return
    from cli.platform.dev import Dev

    database_url = os.environ.get("DATABASE_URL") or None
    Dev(home, port, examples=not no_examples, database_url=database_url, verbose=verbose, watched=watched).run()


@click.command()
def listener() -> None:
    """Run a listener process, configured by environment variables."""
    from listener.main import main as run

    sys.exit(run())


@click.command()
def migrate() -> None:
    """Migrate the database of DATABASE_URL to this version.

    With ZMESH_PROJECT, ZMESH_ADMIN_EMAIL and ZMESH_ADMIN_PASSWORD, also create a first project and its owner.
    """
    from cli.platform.migrating import migrate_from_environment

    migrate_from_environment()


@click.command()
@output_option
def doctor(output: str) -> None:
    """Check what this machine offers, and report what is missing."""
    from cli.platform.doctor import examine

    examine(output)
