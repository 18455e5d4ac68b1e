"""`zmesh projects`: list, create, rename, use and delete."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import click

from cli.client import ApiError, Client
from cli.completing import names_of
from cli.connecting import connected
from cli.errors import CliError, did_you_mean
from cli.groups import Group
from cli.output import ago, output_option, print_json, print_table, progress, style
from cli.prompts import confirm


@click.group(cls=Group)
def projects() -> None:
    """Manage your projects."""


def _find(client: Client, name: str) -> dict[str, Any]:
    found = list(client.items("/projects"))
    for project in found:
        if name in (project["slug"], project["id"], project["name"]):
            return dict(project)
    raise CliError(
        f'You have no project "{name}".',
        code="project_not_found",
        hint=did_you_mean(name, [project["slug"] for project in found]) or "See `zmesh projects list`.",
    )


@projects.command("list")
@output_option
@connected
def list_projects(client: Client, output: str) -> None:
    """List the projects you belong to."""
    found = list(client.items("/projects"))
    if output == "json":
        print_json(found)
        return
    rows = [[p["slug"], p["name"], p["role"], p["schema_name"], p["network"], ago(p["created_at"])] for p in found]
    print_table(("project", "name", "your role", "schema", "network", "created"), rows, "No projects.")


@projects.command("create")
@click.argument("name")
@output_option
@connected
def create(client: Client, name: str, output: str) -> None:
    """Create a project with a schema and a login role of its own."""
    project = client.call("POST", "/projects", {"name": name}).body
    database = client.call("GET", f"/projects/{project['id']}/database").body
    if output == "json":
        print_json({**project, "database_url": database["database_url"]})
        return
    click.echo(f"created {style(project['slug'], bold=True)}")
    click.echo(f"database_url {database['database_url']}")
    progress(f"Work in it with --project {project['slug']} on any command, or: zmesh projects use {project['slug']}")


@projects.command("database")
@click.argument("project", required=False, shell_complete=names_of("projects"))
@output_option
@connected
def database(client: Client, project: str | None, output: str) -> None:
    """Print the connection string of a project's database role, including the password. Owners only.

    Default: the current project.
    """
    id = _find(client, project)["id"] if project else client.project_id()
    found = client.call("GET", f"/projects/{id}/database").body
    if output == "json":
        print_json(found)
    else:
        click.echo(found["database_url"])


@projects.command("rename")
@click.argument("project", shell_complete=names_of("projects"))
@click.argument("name")
@output_option
@connected
def rename(client: Client, project: str, name: str, output: str) -> None:
    """Rename a project. Its slug stays."""
    renamed = client.call("PATCH", f"/projects/{_find(client, project)['id']}", {"name": name}).body
    if output == "json":
        print_json(renamed)
    else:
        click.echo(f"renamed {style(renamed['slug'], bold=True)} to {renamed['name']}")


@projects.command("network")
@click.argument("project", shell_complete=names_of("projects"))
@click.argument("access", type=click.Choice(["open", "none"]))
@output_option
@connected
def network(client: Client, project: str, access: str, output: str) -> None:
    """Set what the runs of a project may connect to.

    open: what their function's setting allows. none: only the project's database, for every function. Applies to runs
    that start from now on.
    """
    changed = client.call("PATCH", f"/projects/{_find(client, project)['id']}", {"network": access}).body
    if output == "json":
        print_json(changed)
    else:
        click.echo(f"network of {style(changed['slug'], bold=True)}: {changed['network']}")


@projects.command("scripts")
@click.argument("project", shell_complete=names_of("projects"))
@click.argument("packages", nargs=-1)
@click.option("--none", "nobody", is_flag=True, help="Do not allow any package to run scripts.")
@output_option
@connected
def scripts(client: Client, project: str, packages: tuple[str, ...], nobody: bool, output: str) -> None:
    """Set which npm packages run their install scripts in builds; without any, show them. Owners only.

    Scripts run in the sandbox of the build, without tokens and secrets.
    """
    found = _find(client, project)
    if packages or nobody:
        if packages and nobody:
            raise click.UsageError("Give packages or --none, not both.")
        body = {"allow_scripts": sorted(set(packages))}
        found = client.call("PATCH", f"/projects/{found['id']}", body).body
    if output == "json":
        print_json(found)
    else:
        allowed = ", ".join(found["allow_scripts"]) or "none"
        click.echo(f"npm packages of {style(found['slug'], bold=True)} that run install scripts: {allowed}")


@projects.command("use")
@click.argument("project", shell_complete=names_of("projects"))
@connected
def use(client: Client, project: str) -> None:
    """Switch to a project for later commands. Requires zmesh login."""
    found = _find(client, project)
    client.switch_project(found["id"])
    progress(f"Switched to {found['slug']}.")


@projects.command("delete")
@click.argument("project", shell_complete=names_of("projects"))
@click.option("--yes", is_flag=True, help="Do not ask.")
@output_option
@connected
def delete(client: Client, project: str, yes: bool, output: str) -> None:
    """Delete a project with its functions, keys, members and tables."""
    found = _find(client, project)
    confirm(
        f"Delete {found['slug']} with its functions, keys, members and all tables in {found['schema_name']}?", yes=yes
    )
    client.call("DELETE", f"/projects/{found['id']}")
    if found["id"] == client.connection.project_id:
        with suppress(ApiError):  # it was the last one
            client.switch_project(None)
    if output == "json":
        print_json({"action": "deleted", "id": found["id"], "slug": found["slug"]})
    else:
        click.echo(f"deleted {found['slug']}")
