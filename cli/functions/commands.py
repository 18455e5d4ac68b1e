"""`zmesh functions`: deploying, settings, versions and deleting; invoking and logs have files of their own."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from cli.client import Client
from cli.completing import names_of
from cli.connecting import connected, find_function
from cli.errors import CliError, did_you_mean
from cli.functions.building import build_packages, layer_size, packages_of, show_packages
from cli.functions.declared import read_functions
from cli.functions.deploying import Deployment, change, deploy_functions, sources_of
from cli.functions.folders import shown_extent, shown_size
from cli.functions.locking import write_locks
from cli.functions.settings import settings_of, settings_options
from cli.functions.versions import DIFF_COLOURS, version_of, warn_if_live_differs
from cli.output import output_option, print_code, print_json, style
from cli.prompts import confirm

NOT_SETTINGS = (
    *("project_id", "code", "files", "file_sizes", "env_vars", "created_at", "updated_at", "revision"),
    "not_forked_because",
)
MOST_LISTED = 30
ACTION_COLOURS = {"created": "green", "updated": "yellow", "unchanged": "bright_black"}


@click.command("deploy")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--name", help="Name of the function. Default: the file's name without its extension, or the folder's.")
@click.option("--force", is_flag=True, help="Deploy code even if it cannot be loaded.")
@click.option("--fresh-packages", is_flag=True, help="Resolve packages again, even if the manifest has not changed.")
@click.option("--message", metavar="TEXT", help="What the new version changes; shown in the list of versions.")
@click.option(
    "--share",
    type=click.IntRange(0, 100),
    metavar="PERCENT",
    help="Percentage of the calls that the new version gets at first. The current version keeps the rest.",
)
@click.option("--bundle", is_flag=True, help="Upload the packages that are installed next to the code.")
@click.option("--write-lock", is_flag=True, help="Write the resolved packages into the folder, as a lock.")
@settings_options
@output_option
@connected
def deploy_files(
    client: Client,
    paths: tuple[Path, ...],
    name: str | None,
    force: bool,
    fresh_packages: bool,
    write_lock: bool,
    bundle: bool,
    message: str | None,
    share: int | None,
    output: str,
    **options: Any,
) -> None:
    """Create or update functions from files and folders: all of them, or none if one fails.

    A folder with an entry file (index.*, main.py, or entry in its zmesh.toml) is one function; any other folder stands
    for the functions in it. Settings in the zmesh.toml of the project and of the function's folder apply unless an
    option says otherwise. Unchanged functions are left alone. Code that cannot be parsed, or certainly lacks its entry
    point, is refused.
    """
    sources = sources_of(paths)
    if name and len(sources) > 1:
        raise click.UsageError("--name can be used with one function only.")
    settings = settings_of(options)
    functions = read_functions(sources, name)
    if bundle and (write_lock or fresh_packages):
        raise click.UsageError("--bundle deploys what is installed; it cannot be combined with options that resolve.")
    if write_lock:
        functions = write_locks(client, functions, fresh=fresh_packages)
    if bundle:
        from cli.functions.bundling import bundle_packages

        built = bundle_packages(client, functions)
    else:
        built = build_packages(client, functions.values(), fresh=fresh_packages and not write_lock)
    release = {key: value for key, value in (("message", message), ("share", share)) if value is not None}
    done = deploy_functions(client, functions, settings, built, release=release, force=force)
    if output == "json":
        described = [(_described(one, built.get(one.after["name"])), _why_not_forked(client, one)) for one in done]
        print_json([{**shown, "not_forked_because": why} if why else shown for shown, why in described])
        return
    for deployment in done:
        _show_deployment(deployment)
        if build := built.get(deployment.after["name"]):
            click.echo(f"  packages: {packages_of(build)}")
        if reason := _why_not_forked(client, deployment):
            what = "executes its top-level code" if deployment.after["init"] else "imports its packages"
            click.echo(style(f"  Each run {what} by itself: {reason}", fg="yellow"))
        if not {"code", "files"}.isdisjoint(deployment.changed):
            warn_if_live_differs(client, deployment.after)


@click.command("update")
@click.argument("name", shell_complete=names_of("functions"))
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
        **{key: after[key] for key in ("id", "name", "slug", "language", "version", "file_sizes")},
        "changed": list(deployment.changed),
    }


def _text(value: Any) -> str:
    """A setting as people read it."""
    if isinstance(value, list):
        return ", ".join(value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)


def _files(function: Mapping[str, Any]) -> str:
    """How many files, and how large together; nothing for a single file."""
    sizes = function["file_sizes"]
    return f": {shown_extent(sizes)}" if sizes else ""


def _list_files(function: Mapping[str, Any]) -> None:
    sizes = sorted(function["file_sizes"].items())
    for path, size in sizes[:MOST_LISTED]:
        click.echo(f"  {path} ({shown_size(size)})")
    if len(sizes) > MOST_LISTED:
        click.echo(f"  … and {len(sizes) - MOST_LISTED} more")


def _why_not_forked(client: Client, deployment: Deployment) -> str | None:
    """Why runs of a function that has run before import its packages or execute its top-level code again each time."""
    if deployment.before is None or not (deployment.after["build_id"] or deployment.after["init"]):
        return None
    function = client.call("GET", f"/functions/{deployment.after['id']}").body
    return function["not_forked_because"] or None


def _show_deployment(deployment: Deployment) -> None:
    before, after = deployment.before, deployment.after
    action = style(deployment.action, fg=ACTION_COLOURS[deployment.action])
    click.echo(f"{action} {style(after['slug'], bold=True)} (version {after['version']}){_files(after)}")
    if before is None:
        _list_files(after)
        return
    for key in deployment.changed:
        if key == "env_vars":
            # Not their values: those may be secrets.
            if names := [k for k in after[key] if before[key].get(k) != after[key][k]]:
                click.echo(f"  variables set: {', '.join(names)}")
            if removed := [k for k in before[key] if k not in after[key]]:
                click.echo(f"  variables removed: {', '.join(removed)}")
        elif key not in ("code", "files", "build_id"):
            click.echo(f"  {key}: {_text(before[key])} → {_text(after[key])}")
    for line in deployment.diff():
        click.echo(style(f"  {line}", fg=DIFF_COLOURS.get(line[:1])))


@click.command("show")
@click.argument("name", shell_complete=names_of("functions"))
@click.option("--version", type=click.IntRange(1), help="Code, files, entry point and language of this version.")
@click.option("--file", "path", metavar="PATH", help="Print only this file of a folder.")
@output_option
@connected
def show(client: Client, name: str, version: int | None, path: str | None, output: str) -> None:
    """Show a function's settings, files and code."""
    function = find_function(client, name)
    if version is not None:
        function |= version_of(client, function, version)
    if path is not None:
        _print_file(function, path)
        return
    build = client.call("GET", f"/builds/{function['build_id']}").body if function["build_id"] else None
    if output == "json":
        print_json({**function, "packages": build["packages"] if build else []})
        return
    facts = [(key, value) for key, value in function.items() if key not in NOT_SETTINGS]
    facts += [("file", f"{path} ({shown_size(size)})") for path, size in sorted(function["file_sizes"].items())]
    facts += [("variable", f"{key}={value}") for key, value in function["env_vars"].items()]
    if function["auth"] == "none":
        facts.append(("public URL", f"{client.connection.url}/api/functions/{function['id']}"))
    if build:
        facts.append(("packages", f"{len(build['packages'])} ({layer_size(build)})"))
    if version is None and function["not_forked_because"]:
        facts.append(("not forked", function["not_forked_because"]))
    for key, value in facts:
        click.echo(f"{style(f'{key:<24}', dim=True)}{_text(value)}".rstrip())
    if build:
        show_packages(build)
    click.echo()
    print_code(function["code"], function["language"])


def _print_file(function: Mapping[str, Any], path: str) -> None:
    content = function["files"].get(path)
    if content is None:
        raise CliError(
            f'{function["slug"]} has no file "{path}".',
            code="file_not_found",
            hint=did_you_mean(path, function["files"]) or f"See `zmesh functions show {function['slug']}`.",
        )
    click.echo(content if isinstance(content, str) else base64.b64decode(content["base64"]), nl=False)


@click.command("delete")
@click.argument("name", shell_complete=names_of("functions"))
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
