"""`zmesh functions`: the group, whose commands are in the modules that it names."""

from __future__ import annotations

import click

from cli.lazy import LazyGroup
from cli.places import Place

PLACES = {
    "list": Place("cli.functions.listing", "list_functions", "List the functions of the project."),
    "show": Place("cli.functions.commands", "show", "Show a function's settings, files and code."),
    "deploy": Place(
        "cli.functions.commands",
        "deploy_files",
        "Create or update functions from files and folders: all of them, or none if one fails.",
    ),
    "update": Place(
        "cli.functions.commands",
        "update",
        "Change settings of a function. Settings that are not given stay as they are.",
    ),
    "delete": Place("cli.functions.commands", "delete", "Delete a function with its versions, schedules and webhooks."),
    "invoke": Place("cli.invocations.invoking", "invoke", "Invoke a function and print its result."),
    "logs": Place(
        "cli.invocations.history", "logs", "Print a function's latest invocations with their logs, the newest last."
    ),
    "versions": Place("cli.functions.versions", "versions", "List the versions of a function, the newest first."),
    "diff": Place(
        "cli.functions.versions",
        "diff",
        "Compare two versions; with one, it and the current version; with none, show the last change.",
    ),
    "rollback": Place(
        "cli.functions.versions",
        "rollback",
        "Restore an older version. The current state is kept as a version, so a rollback can be undone.",
    ),
    "retire": Place(
        "cli.functions.versions", "retire", "Retire a version: no call, alias, retry or rollback can start it."
    ),
    "unretire": Place("cli.functions.versions", "unretire", "Allow a retired version to run again."),
    "alias": Place("cli.functions.versions", "alias", "Name versions, and split invocations among them."),
    "audit": Place(
        "cli.functions.auditing",
        "audit",
        "Report known vulnerabilities of the packages of a function. Exits with 1 if there are any, or "
        "if some packages could not be checked.",
    ),
}


@click.group(cls=LazyGroup, places=PLACES)
def functions() -> None:
    """Deploy, invoke and manage functions."""
