"""`zmesh functions …`: deploy, look at, invoke and roll back functions."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import rich_click as click

from cli.client import Client, Response, quoted
from cli.config import find_connection
from cli.deploying import Deployment, deploy, wanted_of
from cli.errors import CliError, CommandFailed, did_you_mean
from cli.output import ago, output_option, print_json, print_table, progress, style

SETTINGS = ("entry_point", "timeout_ms", "memory_mb")
INVOKE_SECONDS = 120
DIFF_COLOURS = {"+": "green", "-": "red", "@": "cyan"}
ACTION_COLOURS = {"created": "green", "updated": "yellow"}


@click.group()
@click.option("--url", envvar="ZMESH_URL", help="Address of the platform; else the one found here.")
@click.option("--token", envvar="ZMESH_TOKEN", help="Token of a person.")
@click.option("--api-key", envvar="ZMESH_API_KEY", help="Key of the project, for `invoke`.")
@click.pass_context
def functions(context: click.Context, url: str | None, token: str | None, api_key: str | None) -> None:
    """Deploy, invoke and look at functions."""
    context.obj = Client(find_connection(url, token, api_key))


def find(client: Client, name: str) -> dict[str, Any]:
    """The function of this slug, name or id. Raises CliError with what was perhaps meant."""
    known = list(client.items("/functions"))
    for function in known:
        if name in (function["slug"], function["name"], function["id"]):
            return dict(function)
    hint = did_you_mean(name, (f["slug"] for f in known)) or "See `zmesh functions list`."
    raise CliError(f"There is no function {name!r}.", code="function_not_found", hint=hint)


@functions.command("deploy")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--name", help="Name of the function; the file's name when missing.")
@click.option("--entry-point", help="Function of the file to call.")
@click.option("--timeout-ms", type=int, help="Wall-clock limit of a run.")
@click.option("--memory-mb", type=int, help="Memory limit of a run.")
@click.option("--env", "variables", multiple=True, metavar="KEY=VALUE", help="For zmesh.env; may be repeated.")
@output_option
@click.pass_obj
def deploy_files(
    client: Client, /, files: tuple[Path, ...], name: str | None, variables: tuple[str, ...], output: str, **given: Any
) -> None:
    """Create or update functions from files; what has not changed is left alone."""
    if name and len(files) > 1:
        raise click.UsageError("--name goes with one file.")
    settings = {key: given[key] for key in SETTINGS if given[key] is not None}
    if variables:
        settings["env_vars"] = dict(_variable(text) for text in variables)
    wanted = [{**wanted_of(path, name), **settings} for path in files]
    done = [deploy(client, function) for function in wanted]
    if output == "json":
        summaries = [deployment.summary() for deployment in done]
        print_json(summaries if len(summaries) > 1 else summaries[0])
        return
    for deployment in done:
        _show_deployment(deployment)


def _variable(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise click.BadParameter(f"{text!r} is not KEY=VALUE.", param_hint="--env")
    return key, value


def _show_deployment(deployment: Deployment) -> None:
    action = style(deployment.action, fg=ACTION_COLOURS.get(deployment.action), bold=True)
    click.echo(f"{action} {deployment.slug}, version {deployment.version}")
    for key, value in deployment.changed.items():
        click.echo(f"  {key} = {json.dumps(value, ensure_ascii=False)}")
    for line in deployment.diff:
        click.echo("  " + style(line, fg=DIFF_COLOURS.get(line[:1])))


@functions.command("list")
@output_option
@click.pass_obj
def list_functions(client: Client, output: str) -> None:
    """List the functions of the project."""
    found = list(client.items("/functions"))
    if output == "json":
        print_json(found)
        return
    rows = [
        [
            f["slug"],
            f["language"],
            str(f["version"]),
            f"{f['timeout_ms'] / 1000:g} s",
            f"{f['memory_mb']} MB",
            "enabled" if f["enabled"] else "disabled",
            ago(f["updated_at"]),
        ]
        for f in found
    ]
    headings = ("FUNCTION", "LANGUAGE", "VERSION", "TIMEOUT", "MEMORY", "STATE", "UPDATED")
    print_table(headings, rows, "No functions yet. Deploy one: zmesh functions deploy ./my-function.js")


@functions.command("show")
@click.argument("name")
@output_option
@click.pass_obj
def show(client: Client, name: str, output: str) -> None:
    """Show a function with its code."""
    from cli.output import print_code

    function = client.call("GET", f"/functions/{find(client, name)['id']}").body
    if output == "json":
        print_json(function)
        return
    code = function.pop("code")
    for key, value in function.items():
        click.echo(f"{style(f'{key:<12}', dim=True)} {value if isinstance(value, str) else json.dumps(value)}")
    click.echo()
    print_code(code, function["language"])


@functions.command("invoke")
@click.argument("name")
@click.option("--data", default="{}", show_default=True, metavar="JSON", help="Payload: JSON, @file, or - for stdin.")
@click.option("--async", "detached", is_flag=True, help="Do not wait for the end.")
@output_option
@click.pass_obj
def invoke(client: Client, name: str, data: str, detached: bool, output: str) -> None:
    """Invoke a function and print what it returns."""
    payload = _payload(data)
    headers = {"Prefer": "respond-async"} if detached else {}
    if client.connection.token or client.connection.credentials:
        path = f"/functions/{find(client, name)['id']}/invoke"
        answer = client.call("POST", path, {"payload": payload}, headers=headers, seconds=INVOKE_SECONDS)
    else:
        path = f"/api/functions/{quoted(name)}"
        answer = client.call_with_key("POST", path, payload, headers=headers, seconds=INVOKE_SECONDS)
    _show_answer(answer, output)


def _payload(data: str) -> Any:
    try:
        if data == "-":
            return json.load(sys.stdin)
        return json.loads(Path(data[1:]).read_text("utf-8") if data.startswith("@") else data)
    except OSError as error:
        raise click.BadParameter(f"{data[1:]} cannot be read: {error.strerror}.", param_hint="--data") from error
    except ValueError as error:
        raise click.BadParameter(f"this is not JSON: {error}.", param_hint="--data") from error


def _show_answer(answer: Response, output: str) -> None:
    body = answer.body
    if not (isinstance(body, dict) and "status" in body and "invocation_id" in body):
        _show_raw(answer)  # the function's own zmesh.response(…)
    elif output == "json":
        print_json(body)
    elif body["status"] == "success":
        print_json(body["result"])
        progress(style(f"{body['duration_ms']} ms, version {body['version']}", dim=True))
    elif body.get("error"):
        error = body["error"]
        progress(style(error.get("stack") or f"{error['type']}: {error['message']}", fg="red"))
        progress(style(f"{body['status']} [{error['type']}] after {body['duration_ms']} ms", fg="red", bold=True))
    else:
        progress(f"{body['status']}: invocation {body['invocation_id']}")
    if answer.status >= 400:
        raise CommandFailed


def _show_raw(answer: Response) -> None:
    if isinstance(answer.body, bytes):
        sys.stdout.buffer.write(answer.body)
        sys.stdout.buffer.flush()
    else:
        print_json(answer.body)


@functions.command("logs")
@click.argument("name")
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True, help="Invocations to go back.")
@click.option("--follow", "-f", is_flag=True, help="Stay and print what comes.")
@output_option
@click.pass_obj
def logs(client: Client, name: str, limit: int, follow: bool, output: str) -> None:
    """Print what recent invocations logged, the oldest first."""
    from cli.logs import LogPrinter

    LogPrinter(client, find(client, name)["id"], limit, in_json=output == "json").run(follow=follow)


@functions.command("versions")
@click.argument("name")
@output_option
@click.pass_obj
def versions(client: Client, name: str, output: str) -> None:
    """List the versions of a function, the newest first."""
    found = list(client.items(f"/functions/{find(client, name)['id']}/versions"))
    if output == "json":
        print_json(found)
        return
    rows = [
        [str(v["version"]), "current" if v.get("current") else "", ago(v["created_at"]), f"{len(v['code'])} characters"]
        for v in found
    ]
    print_table(("VERSION", "", "SAVED", "CODE"), rows, "No versions.")


@functions.command("rollback")
@click.argument("name")
@click.argument("version", type=click.IntRange(1))
@output_option
@click.pass_obj
def rollback(client: Client, name: str, version: int, output: str) -> None:
    """Restore an earlier version; the current state is saved first, so this can be undone."""
    path = f"/functions/{find(client, name)['id']}/versions/{version}/rollback"
    restored = client.call("POST", path).body
    if output == "json":
        print_json(restored)
        return
    progress(f"{restored['slug']} is again what version {version} was; this is version {restored['version']}.")


@functions.command("delete")
@click.argument("name")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.pass_obj
def delete(client: Client, name: str, yes: bool) -> None:
    """Delete a function with its versions; what is queued is cancelled."""
    function = find(client, name)
    if not yes:
        click.confirm(f"Delete {function['slug']} and its versions?", abort=True, err=True)
    client.call("DELETE", f"/functions/{function['id']}")
    progress(f"{function['slug']} is deleted.")
