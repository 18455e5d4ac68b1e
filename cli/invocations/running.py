"""`zmesh run`: code in the real sandbox, without deploying it."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from cli.client import Client, Response
from cli.connecting import connected, look_up_function
from cli.errors import CommandFailed
from cli.functions.building import build_packages
from cli.functions.declared import Declared, read_declared
from cli.functions.excerpts import show_error
from cli.functions.settings import run_options, settings_of
from cli.invocations.dry_runs import changes_of, show_changes
from cli.invocations.history import print_line
from cli.invocations.invoking import RUNNING, print_raw
from cli.output import make_room, output_option, print_json, progress, style
from cli.payloads import read_payload
from cli.waiting import moving

SHORT_SECONDS = 1  # a run that is over by then is shown at once; the log of any other is followed
ENVELOPE = ("status", "result", "error", "duration_ms", "version")
Function = dict[str, Any]


@click.command("run")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--data", metavar="JSON", help="Payload: JSON, @FILE, or - for stdin. Default: {}.")
@click.option("--name", help="Name of the function to run as. Default: the file's name without its extension.")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Run without network, roll back all changes of the database, and show the changed rows.",
)
@click.option(
    "--inspect",
    is_flag=True,
    help="Run it here, without the sandbox, and wait for a debugger: of Node.js, or debugpy for Python.",
)
@click.option(
    "--inspect-port", type=click.IntRange(1, 65535), help="Port to wait on. Default: 9229 for Node.js, 5678 for Python."
)
@run_options
@output_option
@connected
def run(
    client: Client,
    path: Path,
    data: str | None,
    name: str | None,
    dry_run: bool,
    inspect: bool,
    inspect_port: int | None,
    output: str,
    **options: Any,
) -> None:
    """Run a file or folder in the sandbox of the platform, without deploying it.

    It runs as the function of its name would: with its secrets, settings and packages. In a project folder the settings
    are those that zmesh.toml declares. Where there is no such function, it runs with default settings. Log lines
    appear on stderr while it runs, then the result on stdout. Exits with status 1 if it fails. What it writes to the
    database stays, except with --dry-run.
    """
    payload = json.loads(read_payload("{}" if data is None else data))
    declared = read_declared(path, name)
    function = with_paths(declared.code, path)
    if inspect or inspect_port is not None:
        if dry_run:
            raise click.UsageError("--inspect cannot be combined with --dry-run: only the platform undoes changes.")
        ended = _inspected(client, declared, function, path, settings_of(options), payload, inspect_port, output)
        show_end(ended, function, path, output)
        return
    build_packages(client, [function], fresh=False)
    settings = {**settings_of(options), **({"dry_run": True} if dry_run else {})}
    ended = follow(client, start(client, function, with_declared(client, declared, settings), payload), output)
    if dry_run:
        ended["changes"] = changes_of(client, ended["id"])
    show_end(ended, function, path, output)


def with_paths(function: Function, path: Path) -> Function:
    """A single file by its own name, so that errors name it and not the function's slug."""
    if function["entry_file"] is not None:
        return function
    return {**function, "entry_file": path.name, "files": {path.name: function["code"]}}


def _inspected(
    client: Client,
    declared: Declared,
    function: Function,
    path: Path,
    given: Mapping[str, Any],
    payload: Any,
    port: int | None,
    output: str,
) -> dict[str, Any]:
    """How the run on this machine ended. Raises CliError."""
    from cli.database.connecting import url_of_database
    from cli.invocations.inspecting import run_inspected

    existing: dict[str, Any] = look_up_function(client, function["name"]) or {}
    settings: dict[str, Any] = {"entry_point": "handler", "env_vars": {}}
    settings.update((key, existing[key]) for key in ("entry_point", "style", "env_vars") if key in existing)
    settings.update(with_declared(client, declared, given))
    context = {
        "project_id": existing.get("project_id") or client.project_id(),
        "function": existing.get("slug", function["name"]),
        "database_url": url_of_database(client),
    }
    ended: Mapping[str, Any] = {}
    for ended in run_inspected(function, path, settings, payload, context, port):
        if "status" not in ended:
            _show_line(dict(ended), output)
    return dict(ended)


def with_declared(client: Client, declared: Declared, given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a run: `given` as options, else as declared. What neither says is the deployed function's. Raises
    CliError."""
    settings = {**declared.settings_of_runs, **given}
    if "env_vars" not in settings:
        return settings
    existing = None if declared.in_project else look_up_function(client, declared.code["name"])
    variables = {
        **(existing["env_vars"] if existing else {}),
        **declared.settings_of_runs.get("env_vars", {}),
        **given.get("env_vars", {}),
    }
    settings["env_vars"] = {key: value for key, value in variables.items() if value is not None}
    return settings


def start(client: Client, function: Function, settings: Mapping[str, Any], payload: Any) -> str:
    """Start the code as a draft; returns the invocation's id. Raises CliError."""
    body = {**function, **settings, "payload": payload}
    started = client.call("POST", "/drafts", body, headers={"Prefer": f"wait={SHORT_SECONDS}"}).body
    return str(started["invocation_id"])


def follow(client: Client, id: str, output: str) -> dict[str, Any]:
    """Print what an invocation prints, until it has ended; returns it. Ctrl+C cancels it. Raises CliError."""
    ended = _invocation(client, id)
    if ended["status"] in RUNNING or ended["logs_truncated"]:
        try:
            with moving("running"):
                for event, line in client.events(f"/invocations/{id}/logs"):
                    if event == "log":
                        _show_line(line, output)
        except KeyboardInterrupt:
            client.call("POST", f"/invocations/{id}/cancel")
            raise
        return _invocation(client, id)
    for line in ended["logs"]:
        _show_line(line, output)
    return ended


def _invocation(client: Client, id: str) -> dict[str, Any]:
    return dict(client.call("GET", f"/invocations/{id}").body)


def _show_line(line: dict[str, Any], output: str) -> None:
    if output == "table":
        make_room()
        print_line(line, err=True)
    else:
        progress(line["message"])


def show_end(ended: Mapping[str, Any], function: Function, source: Path, output: str) -> None:
    """The result on stdout, or the error with its lines of the source. Raises CommandFailed."""
    if output == "json":
        envelope = {**{key: ended[key] for key in ENVELOPE}, "invocation_id": ended["id"]}
        print_json(envelope | ({"changes": ended["changes"]} if "changes" in ended else {}))
    elif ended["status"] == "success" and ended["response"] is not None:
        _print_response(ended)
    elif ended["status"] == "success":
        print_json(ended["result"])
    if ended["status"] != "success":
        show_error(ended["error"] or {"type": ended["status"], "message": ""}, function["files"], source)
    if "changes" in ended and output == "table":
        show_changes(ended["changes"])
    if output == "table":
        progress(style(f"{ended['status']}, {ended['duration_ms'] or 0} ms, not deployed", dim=True))
    if ended["status"] != "success":
        raise CommandFailed


def _print_response(ended: Mapping[str, Any]) -> None:
    response = ended["response"]
    body: Any = base64.b64decode(response.get("body_base64") or "")
    content_type = next((str(v) for k, v in response["headers"].items() if k.lower() == "content-type"), "")
    if "json" in content_type.lower():
        with suppress(ValueError):
            body = json.loads(body)
    print_raw(Response(response["status"], body, ended["id"]))
