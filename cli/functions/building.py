"""Has the packages of functions installed before they are deployed, and shows how that goes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

import click

from cli.client import Client
from cli.errors import CliError
from cli.functions.folders import shown_size
from cli.output import progress, style
from cli.waiting import moving
from support.function_folders import own_folder
from support.locks import ManifestError
from support.manifests import Manifest, manifest_of
from support.texts import sentence

POLL_SECONDS = 0.5
UNFINISHED = ("queued", "running")
PATIENCE_SECONDS = 30.0  # for a listener to start the build, before a hint
Build = dict[str, Any]


def build_packages(client: Client, functions: Iterable[Mapping[str, Any]], *, fresh: bool) -> dict[str, Build]:
    """Build what these functions need, each manifest once; the builds by function name. Raises CliError."""
    by_manifest: dict[str, Build] = {}
    found: dict[str, Build] = {}
    for function in functions:
        manifest = manifest_of_function(function)
        if manifest is None:
            continue
        if manifest.hash not in by_manifest:
            by_manifest[manifest.hash] = built(client, function, manifest, fresh=fresh)
        found[function["name"]] = by_manifest[manifest.hash]
    return found


def manifest_of_function(function: Mapping[str, Any]) -> Manifest | None:
    """What it asks for; None where it needs no packages. Raises CliError."""
    try:
        return manifest_of(function["language"], function["code"], files_in_own_folder(function))
    except ManifestError as error:
        raise CliError(f"{function['name']}: {error}. Nothing was deployed.", code="invalid_manifest") from error


def files_in_own_folder(function: Mapping[str, Any]) -> Build:
    """Its files by their paths in its own folder, where manifests are."""
    own = own_folder(function["entry_file"] or "", function["files"])
    return {path.removeprefix(own): content for path, content in function["files"].items()}


def built(
    client: Client, function: Mapping[str, Any], manifest: Manifest, *, fresh: bool = False, lock: str | None = None
) -> Build:
    """The build of this manifest, once it has succeeded; of exactly what `lock` names, if given. Raises CliError."""
    body = {"language": function["language"], "code": function["code"], "files": texts_of(function), "fresh": fresh}
    if lock is not None:
        body["lock"] = lock
    return finished(client, function, manifest, client.call("POST", "/builds", body).body)


def texts_of(function: Mapping[str, Any]) -> dict[str, str]:
    """The files in which manifests are looked for."""
    return {path: text for path, text in files_in_own_folder(function).items() if isinstance(text, str)}


def finished(client: Client, function: Mapping[str, Any], manifest: Manifest, build: Build) -> Build:
    """A build once it has succeeded; its log is printed meanwhile. Raises CliError."""
    if build["status"] in UNFINISHED:
        progress(f"{style('•', fg='green')} Installing the packages of {function['name']} ({manifest.source}) ...")
        try:
            with moving(f"installing the packages of {function['name']}"):
                build = follow_build(client, build["id"])
        except KeyboardInterrupt:
            client.call("POST", f"/builds/{build['id']}/cancel")
            raise
    if build["status"] == "succeeded":
        return build
    reason = build["error"]["message"] if build["error"] else f"The build was {build['status']}"
    raise CliError(
        f"{function['name']}: {sentence(reason)} Nothing was deployed.",
        code=build["error"]["type"] if build["error"] else "build_cancelled",
        hint=f"Read the whole log: zmesh builds logs {build['id']}",
    )


def follow_build(client: Client, id: str) -> Build:
    """Print the log of a build while it is written, until the build has ended."""
    began, last, hinted = time.monotonic(), 0, False
    while True:
        build: Build = client.call("GET", f"/builds/{id}").body
        last = _show_lines(client, id, last)
        if build["status"] not in UNFINISHED:
            return build
        if build["status"] == "queued" and not hinted and time.monotonic() - began > PATIENCE_SECONDS:
            hinted = True
            progress(
                f"{style('!', fg='yellow')} No listener has started it yet. Is one running with ZMESH_BUILDS above 0?"
            )
        time.sleep(POLL_SECONDS)


def _show_lines(client: Client, id: str, after: int) -> int:
    """Print the lines after this one; returns the number of the last line."""
    while lines := client.call("GET", f"/builds/{id}/logs?after={after}&limit=1000").body:
        for line in lines:
            progress(style(f"  {line['message']}", dim=True))
        after = lines[-1]["line"]
    return after


def show_packages(build: Build) -> None:
    """The lock's packages, one a line: name, version and hash."""
    for package in build["packages"]:
        click.echo(f"  {package['name']} {package['version']}  {style(package.get('hash') or '', dim=True)}".rstrip())


def packages_of(build: Build) -> str:
    """What a build installed, in a line."""
    names = [f"{package['name']} {package['version']}" for package in build["packages"]]
    shown = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
    return f"{shown} ({layer_size(build)})" if build["layer_bytes"] else shown or "none"


def layer_size(build: Build) -> str:
    """The size of what a build installed."""
    return "-" if build["layer_bytes"] is None else shown_size(build["layer_bytes"])
