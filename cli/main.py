"""The `zmesh` command. Commands import what they need when they run, so that each starts fast."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import rich_click as click

from cli.commands import COMMANDS
from cli.lazy import LazyGroup
from cli.output import output_option, show_only_text

click.rich_click.TEXT_MARKUP = "rich"
click.rich_click.COMMAND_GROUPS = {
    "zmesh": [
        {
            "name": "Work with functions",
            "commands": [
                "init",
                "run",
                "test",
                "plan",
                "deploy",
                "pull",
                "invoke",
                "logs",
                "functions",
                "invocations",
                "schedules",
                "webhooks",
                "changes",
                "callbacks",
                "builds",
                "registries",
                "secrets",
            ],
        },
        {"name": "Work with the project's database", "commands": ["sql", "types", "migrations"]},
        {
            "name": "Work with others",
            "commands": [
                "login",
                "logout",
                "password",
                "console",
                "open",
                "env",
                "mcp",
                "projects",
                "members",
                "keys",
                "completion",
            ],
        },
        {"name": "Run the platform", "commands": ["dev", "doctor", "api", "listener", "migrate", "admin"]},
    ]
}


@click.group(cls=LazyGroup, places=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="zmesh-functions", prog_name="zmesh")
def zmesh() -> None:
    """Self-hosted JavaScript and Python functions whose only server is PostgreSQL.

    Start with [b]zmesh dev[/], then [b]zmesh functions list[/] in another terminal.
    """


@zmesh.command()
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
@click.option("--verbose", is_flag=True, help="Print the logs of API and listener here too.")
@click.option(
    "--watch",
    "watched",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="DIR",
    help="Deploy the functions of this folder on every save, and show what they print.",
)
def dev(home: Path, port: int, no_examples: bool, verbose: bool, watched: Path | None) -> None:
    """Run the whole platform on this machine: PostgreSQL, an API and a listener.

    With DATABASE_URL set, that PostgreSQL is used instead of a private one.
    """
    from cli.platform.dev import Dev

    database_url = os.environ.get("DATABASE_URL") or None
    Dev(home, port, examples=not no_examples, database_url=database_url, verbose=verbose, watched=watched).run()


@zmesh.command()
def api() -> None:
    """Run an API process, configured by environment variables."""
    from api.main import main as run

    sys.exit(run())


@zmesh.command()
def listener() -> None:
    """Run a listener process, configured by environment variables."""
    from listener.main import main as run

    sys.exit(run())


@zmesh.command()
def migrate() -> None:
    """Migrate the database of DATABASE_URL to this version.

    With ZMESH_PROJECT, ZMESH_ADMIN_EMAIL and ZMESH_ADMIN_PASSWORD, also create a first project and its owner.
    """
    from cli.platform.migrating import migrate_from_environment

    migrate_from_environment()


@zmesh.command()
@output_option
def doctor(output: str) -> None:
    """Check what this machine offers, and report what is missing."""
    from cli.platform.doctor import examine

    examine(output)


def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit status: 0 done, 1 failed, 2 misused, 130 interrupted."""
    show_only_text()
    try:
        zmesh.main(arguments, prog_name="zmesh", standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return 130
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the reader has seen enough
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
