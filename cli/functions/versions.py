"""`zmesh functions versions`, `diff`, `rollback` and `alias`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import click

from cli.client import ApiError, Client, quoted
from cli.completing import names_of
from cli.connecting import connected, find_function
from cli.errors import CliError
from cli.functions.deploying import unchanged_since
from cli.functions.folders import shown_extent, shown_size
from cli.groups import Group
from cli.output import ago, output_option, print_json, print_table, progress, style

DIFF_COLOURS = {"+": "green", "-": "red", "@": "cyan"}
FILE_SIGNS = {"added": "+", "removed": "-", "changed": "@"}


@contextmanager
def _explain_missing_version(function: dict[str, Any], version: int) -> Iterator[None]:
    try:
        yield
    except ApiError as error:
        if error.code != "version_not_found":
            raise
        slug = function["slug"]
        raise CliError(
            f"{slug} has no version {version}.", code=error.code, hint=f"See `zmesh functions versions {slug}`."
        ) from error


def version_of(client: Client, function: dict[str, Any], version: int) -> dict[str, Any]:
    """Version, language, entry point, code, files and build of a version. Raises CliError."""
    with _explain_missing_version(function, version):
        found = client.call("GET", f"/functions/{function['id']}/versions/{version}").body
    return {
        key: found[key]
        for key in (
            *("version", "language", "entry_point", "style", "init", "code", "entry_file", "files", "file_sizes"),
            "build_id",
        )
    }


@click.command("versions")
@click.argument("name", shell_complete=names_of("functions"))
@output_option
@connected
def versions(client: Client, name: str, output: str) -> None:
    """List the versions of a function, the newest first."""
    found = list(client.items(f"/functions/{find_function(client, name)['id']}/versions"))
    if output == "json":
        print_json(found)
        return
    rows = [
        [
            str(version["version"]),
            _state(version),
            ago(version["created_at"]),
            _short_name(version["deployed_by"] or ""),
            _language(version),
            _extent(version),
            version["message"],
        ]
        for version in found
    ]
    print_table(("version", "", "deployed", "by", "language", "code", "message"), rows, "No versions.")


def _language(version: Mapping[str, Any]) -> str:
    """The language, and the entry point unless it is the default."""
    entry_point = version["entry_point"]
    return str(version["language"]) if entry_point == "handler" else f"{version['language']}, {entry_point}"


def _short_name(by: str) -> str:
    """The first part of a member's address, or the name of a key or role: in full, it leaves no room for a message."""
    return by.partition("@")[0].removesuffix(" (API key)").removesuffix(" (SQL)")


def _extent(version: Mapping[str, Any]) -> str:
    sizes = version["file_sizes"]
    if sizes:
        return shown_extent(sizes)
    lines = len(version["code"].splitlines())
    return f"{lines} {'line' if lines == 1 else 'lines'}"


def _state(version: Mapping[str, Any]) -> str:
    if version["current"]:
        return "current"
    return "retired" if version["retired_at"] else ""


@click.command("retire")
@click.argument("name", shell_complete=names_of("functions"))
@click.argument("version", type=click.IntRange(1))
@output_option
@connected
def retire(client: Client, name: str, version: int, output: str) -> None:
    """Retire a version: no call, alias, retry or rollback can start it."""
    _set_retired(client, name, version, "retire", "is retired: nothing can start it", output)


@click.command("unretire")
@click.argument("name", shell_complete=names_of("functions"))
@click.argument("version", type=click.IntRange(1))
@output_option
@connected
def unretire(client: Client, name: str, version: int, output: str) -> None:
    """Allow a retired version to run again."""
    _set_retired(client, name, version, "unretire", "may run again", output)


def _set_retired(client: Client, name: str, version: int, action: str, outcome: str, output: str) -> None:
    function = find_function(client, name)
    with _explain_missing_version(function, version):
        changed = client.call("POST", f"/functions/{function['id']}/versions/{version}/{action}").body
    if output == "json":
        print_json(changed)
    else:
        click.echo(f"Version {version} of {style(function['slug'], bold=True)} {outcome}.")


@click.command("rollback")
@click.argument("name", shell_complete=names_of("functions"))
@click.argument("version", type=click.IntRange(1))
@output_option
@connected
def rollback(client: Client, name: str, version: int, output: str) -> None:
    """Restore an older version. The current state is kept as a version, so a rollback can be undone."""
    function = find_function(client, name)
    with _explain_missing_version(function, version):
        path = f"/functions/{function['id']}/versions/{version}/rollback"
        restored = client.call("POST", path, headers=unchanged_since(function)).body
    if output == "json":
        print_json(restored)
    else:
        click.echo(
            f"{style(restored['slug'], bold=True)} now has the code of version {version},"
            f" as version {restored['version']}."
        )
        warn_if_live_differs(client, restored)


@click.command("diff")
@click.argument("name", shell_complete=names_of("functions"))
@click.argument("before", type=click.IntRange(1), required=False)
@click.argument("after", type=click.IntRange(1), required=False)
@output_option
@connected
def diff(client: Client, name: str, before: int | None, after: int | None, output: str) -> None:
    """Compare two versions; with one, it and the current version; with none, show the last change."""
    function = find_function(client, name)
    number = after or function["version"]
    query = f"?before={before}" if before else ""
    with _explain_missing_version(function, after or before or number):
        found = client.call("GET", f"/functions/{function['id']}/versions/{number}/diff{query}").body
    if output == "json":
        print_json(found)
        return
    for key, changed in found["settings"].items():
        if found["before"] is not None:
            click.echo(f"{key}: {changed['before'] or 'none'} → {changed['after'] or 'none'}")
    for name, changed in found["packages"].items():
        click.echo(f"package {name}: {changed['before'] or 'none'} → {changed['after'] or 'none'}")
    for line in [*found["code"].splitlines(), *_changed_files(found)]:
        click.echo(style(line, fg=DIFF_COLOURS.get(line[:1])))
    if not any(found[part] for part in ("code", "settings", "packages", "files")):
        progress(f"Versions {found['before']} and {found['after']} are the same.")


def _changed_files(diff: Mapping[str, Any]) -> Iterator[str]:
    for path, change in diff["files"].items():
        sizes = " → ".join(shown_size(size) for size in (change["before"], change["after"]) if size is not None)
        yield f"{FILE_SIGNS[change['action']]} {path} ({sizes})"
        if change["action"] == "changed":
            yield from (change["diff"] or "").splitlines()[2:]


@click.group("alias", cls=Group)
def alias() -> None:
    """Name versions, and split invocations among them."""


def warn_if_live_differs(client: Client, function: Mapping[str, Any], profile: str | None = None) -> None:
    """Warn after a change of code that callers may not get it yet. `profile`: that of the commands it prints."""
    for found in client.items(f"/functions/{function['id']}/aliases"):
        if found["name"] == "live" and found["versions"] != {str(function["version"]): 100}:
            progress(f"Callers of {function['slug']} still get the alias live: {_shares(found)}.")
            progress(f"To switch all of them to this version: {command_to_set('live', function, profile)}")


def command_to_set(alias: str, function: Mapping[str, Any], profile: str | None) -> str:
    """The command that gives an alias the current version."""
    there = f" --profile {profile}" if profile else ""
    return f"zmesh functions alias set {function['slug']} {alias} {function['version']}{there}"


@alias.command("list")
@click.argument("name", shell_complete=names_of("functions"))
@output_option
@connected
def list_aliases(client: Client, name: str, output: str) -> None:
    """List the aliases of a function."""
    found = list(client.items(f"/functions/{find_function(client, name)['id']}/aliases"))
    if output == "json":
        print_json(found)
        return
    rows = [[alias["name"], _shares(alias), ago(alias["updated_at"])] for alias in found]
    print_table(("alias", "versions", "updated"), rows, "No aliases. Set one: zmesh functions alias set NAME live 1")


@alias.command("set")
@click.argument("name", shell_complete=names_of("functions"))
@click.argument("alias")
@click.argument("shares", nargs=-1, required=True, metavar="VERSION[=PERCENT]...")
@output_option
@connected
def set_alias(client: Client, name: str, alias: str, shares: tuple[str, ...], output: str) -> None:
    """Point an alias at a version, or at several with their shares: live 7=90 8=10.

    Calls that name no version use the alias live, if there is one.
    """
    wanted = dict(_share(text) for text in shares)
    path = f"/functions/{find_function(client, name)['id']}/aliases/{quoted(alias)}"
    found = client.call("PUT", path, {"versions": wanted}).body
    if output == "json":
        print_json(found)
    else:
        click.echo(f"{style(alias, bold=True)}: {_shares(found)}")


@alias.command("delete")
@click.argument("name", shell_complete=names_of("functions"))
@click.argument("alias")
@output_option
@connected
def delete_alias(client: Client, name: str, alias: str, output: str) -> None:
    """Delete an alias."""
    client.call("DELETE", f"/functions/{find_function(client, name)['id']}/aliases/{quoted(alias)}")
    if output == "json":
        print_json({"action": "deleted", "alias": alias})
    else:
        click.echo(f"deleted {alias}")


def _share(text: str) -> tuple[str, int]:
    version, _, percent = text.partition("=")
    percent = percent.removesuffix("%") or "100"
    if not version.isdecimal() or not percent.isdecimal():
        raise click.BadParameter(f'"{text}" is not VERSION or VERSION=PERCENT.', param_hint="VERSION")
    return version, int(percent)


def _shares(alias: dict[str, Any]) -> str:
    return ", ".join(f"version {version} {share} %" for version, share in alias["versions"].items())
