"""`zmesh functions`: deploying, settings, versions and deleting; invoking and logs have files of their own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import rich_click as click

from cli.building import build_packages, packages_of
from cli.client import Client
from cli.connecting import connected, find_function
from cli.deploying import Deployment, change, deploy_functions, files_of, read_functions
from cli.function_settings import settings_of, settings_options
from cli.history import logs
from cli.invoking import invoke
from cli.output import ago, output_option, print_code, print_json, print_table, style
from cli.prompts import confirm
from cli.versions import (
    DIFF_COLOURS,
    alias,
    diff,
    retire,
    rollback,
    unretire,
    version_of,
    versions,
    warn_if_live_differs,
)

NOT_SETTINGS = ("project_id", "code", "env_vars", "created_at", "updated_at", "revision")
ACTION_COLOURS = {"created": "green", "updated": "yellow", "unchanged": "bright_black"}


@click.group()
def functions() -> None:
    """Deploy, invoke and manage functions."""


functions.add_command(invoke)
functions.add_command(logs)
for command in (versions, diff, rollback, retire, unretire, alias):
    functions.add_command(command)


@functions.command("deploy")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--name", help="Name of the function. Default: the file's name without its extension.")
@click.option("--force", is_flag=True, help="Deploy even code that cannot load.")
@click.option("--fresh-packages", is_flag=True, help="Resolve packages again, even if the manifest has not changed.")
@settings_options
@output_option
@connected
def deploy_files(
    client: Client,
    files: tuple[Path, ...],
    name: str | None,
    force: bool,
    fresh_packages: bool,
    output: str,
    **options: Any,
) -> None:
    """Create or update functions from files: all of them, or none if one fails.

    A folder stands for the functions in it. Unchanged functions are left alone. Code that cannot be parsed, or
    certainly lacks its entry point, is refused.
    """
    files = tuple(files_of(files))
    if name and len(files) > 1:
        raise click.UsageError("--name can be used with one file only.")
    settings = settings_of(options)
    functions = read_functions(files, name)
    built = build_packages(client, functions.values(), fresh=fresh_packages)
    done = deploy_functions(client, functions, settings, force=force)
    if output == "json":
        print_json([_described(deployment, built.get(deployment.after["name"])) for deployment in done])
        return
    for deployment in done:
        _show_deployment(deployment)
        if build := built.get(deployment.after["name"]):
            click.echo(f"  packages: {packages_of(build)}")
        if "code" in deployment.changed:
            warn_if_live_differs(client, deployment.after)


@functions.command("update")
@click.argument("name")
@settings_options
@output_option
@connected
def update(client: Client, name: str, output: str, **options: Any) -> None:
    """Change settings of a function. Settings that are not given stay as they are."""
    wanted = settings_of(options)
    if not wanted:
        raise click.UsageError("Nothing to change: give at least one setting.")
    deployment = change(client, find_function(client, name), wanted)
    if output == "json":
        print_json(_described(deployment))
    else:
        _show_deployment(deployment)


def _described(deployment: Deployment, build: Mapping[str, Any] | None = None) -> dict[str, Any]:
    after = deployment.after
    return {
        **({"packages": build["packages"]} if build else {}),
        "action": deployment.action,
        **{key: after[key] for key in ("id", "name", "slug", "language", "version")},
        "changed": list(deployment.changed),
    }


def _text(value: Any) -> str:
    """A setting as people read it."""
    if isinstance(value, list):
        return ", ".join(value) or "none"
    return "none" if value is None else str(value)


def _show_deployment(deployment: Deployment) -> None:
    before, after = deployment.before, deployment.after
    action = style(deployment.action, fg=ACTION_COLOURS[deployment.action])
    click.echo(f"{action} {style(after['slug'], bold=True)} (version {after['version']})")
    if before is None:
        return
    for key in deployment.changed:
        if key == "env_vars":
            # Not their values: those may be secrets.
            if names := [k for k in after[key] if before[key].get(k) != after[key][k]]:
                click.echo(f"  variables set: {', '.join(names)}")
            if removed := [k for k in before[key] if k not in after[key]]:
                click.echo(f"  variables removed: {', '.join(removed)}")
        elif key != "code":
            click.echo(f"  {key}: {_text(before[key])} → {_text(after[key])}")
    for line in deployment.diff():
        click.echo(style(f"  {line}", fg=DIFF_COLOURS.get(line[:1])))


@functions.command("list")
@click.option("--tag", help="Only functions with this tag.")
@output_option
@connected
def list_functions(client: Client, tag: str | None, output: str) -> None:
    """List the functions of the project."""
    found = list(client.items("/functions", code="false", **({"tag": tag} if tag else {})))
    if output == "json":
        print_json([{key: value for key, value in function.items() if key != "code"} for function in found])
        return
    rows = [
        [
            function["slug"],
            function["language"],
            str(function["version"]),
            f"{function['timeout_ms'] / 1000:g} s",
            f"{function['memory_mb']} MB",
            ago(function["updated_at"]) + ("" if function["enabled"] else ", disabled"),
        ]
        for function in found
    ]
    headings = ("function", "language", "version", "timeout", "memory", "updated")
    print_table(headings, rows, "No functions yet. Deploy one: zmesh functions deploy ./my-function.py")


@functions.command("show")
@click.argument("name")
@click.option("--version", type=click.IntRange(1), help="Code, entry point and language of this version.")
@output_option
@connected
def show(client: Client, name: str, version: int | None, output: str) -> None:
    """Show a function's settings and code."""
    function = find_function(client, name)
    if version is not None:
        function |= version_of(client, function, version)
    if output == "json":
        print_json(function)
        return
    facts = [(key, value) for key, value in function.items() if key not in NOT_SETTINGS]
    facts += [("variable", f"{key}={value}") for key, value in function["env_vars"].items()]
    if function["auth"] == "none":
        facts.append(("public URL", f"{client.connection.url}/api/functions/{function['id']}"))
    for key, value in facts:
        click.echo(f"{style(f'{key:<24}', dim=True)}{_text(value)}".rstrip())
    click.echo()
    print_code(function["code"], function["language"])


@functions.command("delete")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@output_option
@connected
def delete(client: Client, name: str, yes: bool, output: str) -> None:
    """Delete a function with its versions, schedules and webhooks."""
    function = find_function(client, name)
    confirm(f"Delete {function['slug']} with all its versions, schedules and webhooks?", yes=yes)
    client.call("DELETE", f"/functions/{function['id']}")
    if output == "json":
        print_json({"action": "deleted", "id": function["id"], "slug": function["slug"]})
    else:
        click.echo(f"deleted {function['slug']}")
