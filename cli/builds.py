"""`zmesh builds`: the installation of packages that functions need."""

from __future__ import annotations

from itertools import islice

import rich_click as click

from cli.building import follow_build, megabytes, packages_of
from cli.client import Client
from cli.connecting import connected
from cli.output import ago, output_option, print_json, print_table, progress, style

STATUS_COLOURS = {"succeeded": "green", "failed": "red", "cancelled": "yellow"}
Id = click.argument("id", type=click.UUID)


@click.group()
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
    rows = [
        [
            build["id"],
            style(build["status"], fg=STATUS_COLOURS.get(build["status"])),
            build["runtime"],
            str(len(build["packages"])),
            megabytes(build),
            ago(build["created_at"]),
        ]
        for build in found
    ]
    headings = ("build", "status", "runtime", "packages", "size", "created")
    print_table(headings, rows, "No builds yet. Deploying a function with packages starts one.")


@builds.command("show")
@Id
@output_option
@connected
def show(client: Client, id: str, output: str) -> None:
    """Show what a build installed, and its lock."""
    build = client.call("GET", f"/builds/{id}").body
    if output == "json":
        print_json(build)
        return
    click.echo(f"{'status':<12}{style(build['status'], fg=STATUS_COLOURS.get(build['status']))}")
    click.echo(f"{'packages':<12}{packages_of(build)}")
    if build["platform"]:
        click.echo(f"{'platform':<12}{build['platform']}")
    if build["error"]:
        click.echo(f"{'error':<12}{build['error']['message']}")
    if build["lock"]:
        click.echo(f"\n{build['lock']}".rstrip())


@builds.command("logs")
@Id
@connected
def logs(client: Client, id: str) -> None:
    """Print the log of a build, until it has ended."""
    build = follow_build(client, str(id))
    progress(f"{build['status']}: {build['error']['message'] if build['error'] else packages_of(build)}")


@builds.command("cancel")
@Id
@output_option
@connected
def cancel(client: Client, id: str, output: str) -> None:
    """Cancel a build. One that has ended stays as it is."""
    build = client.call("POST", f"/builds/{id}/cancel").body
    if output == "json":
        print_json(build)
    else:
        progress("It will stop within seconds." if build["status"] == "running" else f"It is {build['status']}.")
