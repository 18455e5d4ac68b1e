"""`zmesh builds`: the installation of packages that functions need."""

from __future__ import annotations

from itertools import islice
from uuid import UUID

import click

from cli.client import Client
from cli.connecting import connected
from cli.errors import CliError
from cli.functions.building import follow_build, layer_size, packages_of, show_packages
from cli.groups import Group
from cli.output import ago, output_option, print_json, print_table, progress, style, unique_length

SHORT_ID = 8
STATUS_COLOURS = {"succeeded": "green", "failed": "red", "cancelled": "yellow"}
Id = click.argument("id")


@click.group(cls=Group)
def builds() -> None:
    """Inspect and cancel the installation of packages."""


@builds.command("list")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="Number of builds.")
@output_option
@connected
def list_builds(client: Client, limit: int, output: str) -> None:
    """List builds, newest first."""
    found = list(islice(client.items("/builds"), limit))
    if output == "json":
        print_json(found)
        return
    shown = unique_length([build["id"] for build in found], SHORT_ID)
    rows = [
        [
            build["id"][:shown],
            style(build["status"], fg=STATUS_COLOURS.get(build["status"])),
            build["runtime"],
            str(build["package_count"]),
            layer_size(build),
            ago(build["created_at"]),
        ]
        for build in found
    ]
    headings = ("build", "status", "runtime", "packages", "size", "created")
    print_table(headings, rows, "No builds yet. Deploying a function with packages starts one.")


def _full_id(client: Client, prefix: str) -> str:
    """The full id of a build, from a unique prefix. Raises CliError."""
    try:
        return str(UUID(prefix))
    except ValueError:
        found = [b["id"] for b in client.items("/builds") if len(prefix) >= 4 and b["id"].startswith(prefix.lower())]
    if len(found) > 1:
        raise CliError(
            f'More than one build starts with "{prefix}", such as {found[0]} and {found[1]}.',
            code="ambiguous_id",
            hint="Give more characters of the id.",
        )
    if not found:
        raise CliError(
            f'There is no build "{prefix}".',
            code="build_not_found",
            hint="Give its id, or at least its first four characters: `zmesh builds list` shows them.",
        )
    return str(found[0])


@builds.command("show")
@Id
@output_option
@connected
def show(client: Client, id: str, output: str) -> None:
    """Show what a build installed, and its lock."""
    build = client.call("GET", f"/builds/{_full_id(client, id)}").body
    if output == "json":
        print_json(build)
        return
    click.echo(f"{'status':<12}{style(build['status'], fg=STATUS_COLOURS.get(build['status']))}")
    click.echo(f"{'packages':<12}{packages_of(build)}")
    if build["platform"]:
        click.echo(f"{'platform':<12}{build['platform']}")
    if build["error"]:
        click.echo(f"{'error':<12}{build['error']['message']}")
    show_packages(build)
    if build["lock"]:
        click.echo(f"\n{build['lock']}".rstrip())


@builds.command("logs")
@Id
@connected
def logs(client: Client, id: str) -> None:
    """Print the log of a build, until it has ended."""
    build = follow_build(client, _full_id(client, id))
    progress(f"{build['status']}: {build['error']['message'] if build['error'] else packages_of(build)}")


@builds.command("cancel")
@Id
@output_option
@connected
def cancel(client: Client, id: str, output: str) -> None:
    """Cancel a build. One that has ended stays as it is."""
    build = client.call("POST", f"/builds/{_full_id(client, id)}/cancel").body
    if output == "json":
        print_json(build)
    else:
        progress("It will stop within seconds." if build["status"] == "running" else f"It is {build['status']}.")
