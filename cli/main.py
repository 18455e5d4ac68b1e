"""The `zmesh` command. Commands import what they need when they run, so that each starts fast."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import rich_click as click

from cli.functions import functions
from cli.output import output_option

INTERRUPTED = 130
click.rich_click.TEXT_MARKUP = "rich"
click.rich_click.COMMAND_GROUPS = {
    "zmesh": [
        {"name": "Functions", "commands": ["functions", "login"]},
        {"name": "Run the platform", "commands": ["dev", "api", "listener", "migrate", "doctor"]},
    ]
}


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="zmesh-functions", prog_name="zmesh")
def zmesh() -> None:
    """Self-hosted JavaScript and Python functions whose only server is PostgreSQL."""


zmesh.add_command(functions)


@zmesh.command()
@click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    default=".zmesh",
    show_default=True,
    envvar="ZMESH_HOME",
    help="Folder of everything it keeps.",
)
@click.option("--port", type=click.IntRange(0, 65535), default=8700, show_default=True, help="0 takes a free one.")
@click.option("--examples/--no-examples", default=True, help="Deploy the examples.")
def dev(home: Path, port: int, examples: bool) -> None:
    """Run the whole platform here: PostgreSQL, API and a listener."""
    from cli.dev import Dev

    Dev(home, port, examples=examples, database_url=os.environ.get("DATABASE_URL") or None).run()


def _end_with(run: Callable[[], int]) -> None:
    if status := run():
        sys.exit(status)


@zmesh.command()
def api() -> None:
    """Run an API process, configured by its environment."""
    from api.main import main as run

    _end_with(run)


@zmesh.command()
def listener() -> None:
    """Run a listener process, configured by its environment."""
    from listener.main import main as run

    _end_with(run)


@zmesh.command()
def migrate() -> None:
    """Bring the database of DATABASE_URL to this version, and make a first project where one is named."""
    from cli.migrating import migrate_from_environment

    migrate_from_environment(os.environ)


@zmesh.command()
@output_option
def doctor(output: str) -> None:
    """Check what this machine offers: runtimes, PostgreSQL and how well runs are isolated."""
    from cli.doctor import examine

    if not examine(output):
        sys.exit(1)


@zmesh.command()
@click.option("--url", required=True, envvar="ZMESH_URL", help="Address of the platform.")
@click.option("--email", prompt=True, help="Your address.")
@click.option("--password", prompt=True, hide_input=True, envvar="ZMESH_PASSWORD", help="Asked for when missing.")
@click.option("--project", help="Id or slug of the project, where you are a member of several.")
def login(url: str, email: str, password: str, project: str | None) -> None:
    """Sign in to a platform and remember it."""
    from cli.client import Client
    from cli.config import Connection, store_login
    from cli.output import local_time, progress

    client = Client(Connection(url.rstrip("/")))
    asked = {"email": email, "password": password, **({"project": project} if project else {})}
    session = client.log_in(asked)
    store_login({"url": client.connection.url, "email": email, **session})
    progress(f"Signed in to {client.connection.url} as {email} until {local_time(session['expires_at'])}.")


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit status: 0 done, 1 failed, 2 misused, 130 interrupted."""
    try:
        zmesh.main(arguments, prog_name="zmesh", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
