"""`zmesh functions invoke`."""

from __future__ import annotations

import re
import sys
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

import click

from cli.client import ApiError, Client, Response, quoted
from cli.completing import names_of
from cli.connecting import command_for, connected, find_function, is_addressable, no_such_function
from cli.errors import CliError, CommandFailed
from cli.invocations.dry_runs import changes_of, show_changes
from cli.output import output_option, print_json, progress, style
from cli.payloads import read_payload
from support.invocation_options import DELAY, OPTIONS, RUN_AT

Command = TypeVar("Command", bound=Callable[..., Any])
LONGEST_WAIT = 920  # a little over the longest timeout that a function can have
POLL_SECONDS = 0.5
NEEDS_ANOTHER_CREDENTIAL = "missing_credentials"  # nothing has run
RUNNING = ("queued", "running")
FLAGS = {option.header: option.flag for option in OPTIONS}
HEADER = re.compile("|".join(FLAGS))


def _invocation_options(command: Command) -> Command:
    for option in reversed(OPTIONS):
        command = click.option(option.flag, option.name, metavar=option.metavar, help=option.help)(command)
    return command


@click.command()
@click.argument("name", shell_complete=names_of("functions"))
@click.option("--data", metavar="JSON", help="Payload: JSON, @FILE, or - for stdin. Default: {}.")
@click.option("--async", "detached", is_flag=True, help="Do not wait for the result.")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Run without network, roll back all changes of the database, and show the changed rows.",
)
@_invocation_options
@click.option("--method", metavar="METHOD", help="Send an HTTP request of this method to the public route.")
@click.option("--path", metavar="PATH", help="Path of that request below the function, such as /orders/7.")
@click.option("--header", "headers", multiple=True, metavar="NAME: VALUE", help="Header of that request; repeatable.")
@click.option("--query", multiple=True, metavar="NAME=VALUE", help="Parameter of that request; repeatable.")
@output_option
@connected
def invoke(
    client: Client,
    name: str,
    data: str | None,
    detached: bool,
    dry_run: bool,
    output: str,
    method: str | None,
    path: str | None,
    headers: tuple[str, ...],
    query: tuple[str, ...],
    **options: str | None,
) -> None:
    """Invoke a function and print its result.

    As a table that is the result alone; in JSON it is the envelope, with status, duration_ms and error.
    Exits with status 1 if the function fails. With --method, --path, --header or --query it is an HTTP request to
    the public route, which the function finds in zmesh.request.
    """
    if dry_run and (detached or method or path or headers or query):
        raise click.UsageError("--dry-run waits for the result, and cannot be combined with options of HTTP requests.")
    detached = detached or any(options[option.name] is not None for option in (DELAY, RUN_AT))
    sent = _headers(options, detached=detached)
    request = None
    if method or path or headers or query:
        request = PublicRequest(
            method or "POST", path or "", {**sent, **dict(map(_header, headers))}, list(map(_parameter, query)), data
        )
    response = _response(client, name, data, sent, request, dry_run=dry_run)
    logs = command_for(client, "functions", "logs", name)
    answer = response.body
    if not isinstance(answer, dict) or answer.get("invocation_id") != response.invocation_id:
        print_raw(response)
        return
    if not detached and answer["status"] in RUNNING:
        answer = _wait_for_end(client, answer)
        if dry_run:
            answer["changes"] = changes_of(client, answer["invocation_id"])
    if output == "json":
        print_json(answer)
    elif answer["status"] == "success":
        print_json(answer["result"])
        _print_note(f"{answer['duration_ms']} ms, version {answer['version']}. Logs: {logs}")
    elif answer["status"] in RUNNING:
        click.echo(answer["invocation_id"])
        _print_note(f"{answer['status']}. Its log: {logs}")
    if dry_run and output == "table":
        show_changes(answer["changes"])
    if answer["status"] not in ("success", *RUNNING):
        _fail(answer, logs, output)


def _headers(options: dict[str, str | None], *, detached: bool) -> dict[str, str]:
    values = {option.header: options[option.name] for option in OPTIONS}
    return {
        **({"Prefer": "respond-async"} if detached else {}),
        **{header: value for header, value in values.items() if value is not None},
    }


def _response(
    client: Client,
    name: str,
    data: str | None,
    headers: dict[str, str],
    request: PublicRequest | None,
    *,
    dry_run: bool,
) -> Response:
    """What the function answers. An error about a header names the option that set it."""
    try:
        if request is not None:
            return _request(client, name, request)
        payload = read_payload("{}" if data is None else data).encode()
        return _invoke(client, name, payload, headers, dry_run=dry_run)
    except ApiError as error:
        if error.code != "invalid_header":
            raise
        message = HEADER.sub(lambda header: FLAGS[header[0]], error.message)
        raise ApiError(error.status, message, code=error.code, hint=error.hint) from error


@dataclass(frozen=True, slots=True)
class PublicRequest:
    """An HTTP request to a function's public route; `data` as --data takes it, None for no body."""

    method: str
    path: str
    headers: dict[str, str]
    query: list[tuple[str, str]]
    data: str | None


def _header(text: str) -> tuple[str, str]:
    name, separator, value = text.partition(":")
    if not separator or not name.strip():
        raise click.BadParameter(f'"{text}" is not NAME: VALUE.', param_hint="--header")
    return name.strip(), value.strip()


def _parameter(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise click.BadParameter(f'"{text}" is not NAME=VALUE.', param_hint="--query")
    return name, value


def _request(client: Client, name: str, request: PublicRequest) -> Response:
    """With the API key or the user's token, whichever the function accepts; in another project with the token."""
    below = urllib.parse.quote(f"/{request.path.lstrip('/')}" if request.path else "", safe="/%:@!$&'()*+,;=-._~")
    query = f"?{urllib.parse.urlencode(request.query)}" if request.query else ""
    body = None if request.data is None else read_payload(request.data).encode()
    path = f"/api/functions/{quoted(name)}{below}{query}"

    def send(call: Callable[..., Response]) -> Response:
        return call(request.method.upper(), path, body, headers=request.headers, seconds=LONGEST_WAIT)

    if client.connection.api_key and not (client.project and client.is_logged_in):
        try:
            return send(client.call_with_key)
        except ApiError as error:
            if error.code != NEEDS_ANOTHER_CREDENTIAL or not client.is_logged_in:
                raise
    try:
        return send(client.call)
    except ApiError as error:
        if error.code == NEEDS_ANOTHER_CREDENTIAL:
            create = command_for(client, "keys", "create", "NAME")
            error.hint = (
                f"Create one with `{create}` and pass it as --api-key, without --project;"
                " or leave out --method, --path, --header and --query."
            )
        raise


def _invoke(client: Client, name: str, payload: bytes, headers: dict[str, str], *, dry_run: bool) -> Response:
    if client.connection.token or not client.connection.api_key or dry_run:
        body = b'{"payload": ' + payload + (b', "dry_run": true}' if dry_run else b"}")
        if is_addressable(name):
            try:
                path = f"/functions/{quoted(name)}/invoke"
                return client.call("POST", path, body, headers=headers, seconds=LONGEST_WAIT)
            except ApiError as error:
                if error.code != "function_not_found":
                    raise
        found = find_function(client, name)  # by its name, else with what was perhaps meant
        path = f"/functions/{found['id']}/invoke"
        return client.call("POST", path, body, headers=headers, seconds=LONGEST_WAIT)
    if not is_addressable(name):
        raise CliError(
            f'An API key cannot look up the name "{name}".',
            code="slug_needed",
            hint="Use the function's slug or id. A logged-in user can look it up it with `zmesh functions list`.",
        )
    try:
        path = f"/api/functions/{quoted(name)}"
        return client.call_with_key("POST", path, payload, headers=headers, seconds=LONGEST_WAIT)
    except ApiError as error:
        if error.code == "function_not_found":
            raise no_such_function(name, []) from error
        raise


def _wait_for_end(client: Client, answer: dict[str, Any]) -> dict[str, Any]:
    """The same invocation, once it has ended."""
    id = answer["invocation_id"]
    progress(f"Still {answer['status']}: waiting for invocation {id} ...")
    call = client.call if client.connection.token else client.call_with_key
    while True:
        found = call("GET", f"/invocations/{id}", seconds=60).body
        if found["status"] not in RUNNING:
            return {key: found[key] for key in ("status", "result", "error", "duration_ms", "version")} | {
                "invocation_id": id
            }
        time.sleep(POLL_SECONDS)


def print_raw(response: Response) -> None:
    """Print a zmesh.response() unchanged."""
    if isinstance(response.body, bytes) and sys.stdout.isatty():
        click.echo(response.body.decode("utf-8", "backslashreplace"), nl=False)
    elif isinstance(response.body, bytes):
        sys.stdout.buffer.write(response.body)
    else:
        print_json(response.body)
    if response.status >= 400:
        progress(f"The function responded with HTTP status {response.status}.")
        raise CommandFailed


def _fail(answer: dict[str, Any], logs: str, output: str) -> NoReturn:
    error = answer["error"] or {"type": answer["status"], "message": "", "stack": None}
    progress(f"{style(error['type'], fg='red', bold=True)}: {error['message']}".rstrip(": "))
    if error["stack"] and output == "table":
        progress(style(error["stack"].rstrip(), dim=True))
    if output == "table":
        _print_note(f"{answer['status']}, version {answer['version']}. Logs: {logs}")
    raise CommandFailed


def _print_note(text: str) -> None:
    progress(style(text, dim=True))
