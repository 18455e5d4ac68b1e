"""`zmesh invocations`: list, show, logs, cancel and retry."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

import click

from cli.client import Client
from cli.connecting import connected, find_function
from cli.errors import CliError, CommandFailed
from cli.groups import Group
from cli.invocations.history import ENDED, STATUS_COLOURS, heading, print_invocations, print_line
from cli.output import local_time, output_option, print_json, progress, style

Command = TypeVar("Command", bound=Callable[..., Any])
SOURCES = ("api", "sql", "schedule", "webhook", "change", "function")
EPOCH = datetime.fromtimestamp(0, UTC)
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@click.group(cls=Group)
def invocations() -> None:
    """Inspect, cancel and retry invocations."""


def _moment(_context: click.Context, option: click.Parameter, text: str | None) -> str | None:
    """An ISO time, or how long ago, such as 30m, 2h or 7d."""
    if text is None:
        return None
    if ago := re.fullmatch(r"(\d{1,6})([smhd])", text):
        return (datetime.now(UTC) - timedelta(seconds=int(ago[1]) * UNITS[ago[2]])).isoformat()
    try:
        return datetime.fromisoformat(text).astimezone().isoformat()
    except ValueError as error:
        raise click.BadParameter("must be a time, or an age such as 30m, 2h or 7d.") from error


def filter_options(statuses: Sequence[str]) -> Callable[[Command], Command]:
    """Adds the options that say which invocations."""

    def add(command: Command) -> Command:
        for option in (
            click.option(
                "--error", metavar="TEXT", help="Only invocations with this text in the type or message of the error."
            ),
            click.option(
                "--until",
                "created_before",
                metavar="TIME",
                callback=_moment,
                help="Only invocations created before this time, or this long ago: 30m, 2h, 7d.",
            ),
            click.option(
                "--since",
                "created_after",
                metavar="TIME",
                callback=_moment,
                help="Only invocations created since this time, or this long ago: 30m, 2h, 7d.",
            ),
            click.option("--version", type=click.IntRange(1), help="Only invocations of this version."),
            click.option("--source", type=click.Choice(SOURCES), help="Only invocations from this source."),
            click.option("--status", type=click.Choice(statuses), help="Only invocations with this status."),
            click.option("--function", metavar="NAME", help="Only invocations of this function."),
        ):
            command = option(command)
        return command

    return add


def full_id(client: Client, prefix: str) -> str:
    """The full id of an invocation, from a unique prefix. Raises CliError."""
    digits = prefix.replace("-", "").lower()
    if re.fullmatch(r"[0-9a-f]{32}", digits):
        return str(UUID(digits))
    found: list[str] = []
    if re.fullmatch(r"[0-9a-f]{4,31}", digits):
        for invocation in client.items("/invocations", logs="false", **_creation_range(digits)):
            if invocation["id"].replace("-", "").startswith(digits):
                found.append(invocation["id"])
            if len(found) == 2:
                raise CliError(
                    f'More than one invocation starts with "{prefix}", such as {found[0]} and {found[1]}.',
                    code="ambiguous_id",
                    hint="Give more characters of the id.",
                )
    if not found:
        raise CliError(
            f'There is no invocation "{prefix}".',
            code="invocation_not_found",
            hint="Give its id, or at least its first four digits: `zmesh invocations list` shows them.",
        )
    return found[0]


def _creation_range(digits: str) -> dict[str, str]:
    """The range of creation times of ids with this prefix: an id starts with the milliseconds since 1970."""
    first, last = int(digits[:12].ljust(12, "0"), 16) / 1000, int(digits[:12].ljust(12, "f"), 16) / 1000
    around = timedelta(minutes=10)  # the clock that made an id may be another one's
    latest = datetime.now(UTC) + timedelta(days=1)
    if first > latest.timestamp():
        first = last = latest.timestamp()
    after = datetime.fromtimestamp(first, UTC) - around if first > around.total_seconds() else EPOCH
    before = min(datetime.fromtimestamp(min(last, latest.timestamp()), UTC) + around, latest)
    return {"created_after": after.isoformat(), "created_before": before.isoformat()}


def _values(client: Client, options: dict[str, Any]) -> dict[str, Any]:
    filters = {name: value for name, value in options.items() if value is not None}
    if "function" in filters:
        filters["function"] = find_function(client, filters["function"])["id"]
    return filters


@invocations.command("list")
@filter_options(("queued", "running", *ENDED))
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True, help="Number of entries.")
@output_option
@connected
def list_invocations(client: Client, limit: int, output: str, **options: Any) -> None:
    """List invocations, the newest first."""
    found: list[dict[str, Any]] = []
    for invocation in client.items("/invocations", logs="false", **_values(client, options)):
        found.append(invocation)
        if len(found) == limit:
            break
    if output == "json":
        print_json(found)
        return
    if not found:
        progress("No matching invocations.")
        return
    print_invocations(found)


@invocations.command("show")
@click.argument("id")
@output_option
@connected
def show(client: Client, id: str, output: str) -> None:
    """Show the details of an invocation."""
    found = client.call("GET", f"/invocations/{full_id(client, id)}").body
    if output == "json":
        print_json(found)
        return
    click.echo(heading(found))
    times = ("created_at", "run_at", "started_at", "finished_at", "expires_at")
    facts: list[tuple[str, Any]] = [(key, local_time(found[key])) for key in times if found[key]]
    plain = ("function", "priority", "alias", "idempotency_key", "concurrency_key", "parent_id", "schedule_id")
    facts += [(key, found[key]) for key in plain if found[key]]
    units = {"queue_ms": "ms", "start_ms": "ms", "duration_ms": "ms", "cpu_ms": "ms", "peak_memory_mb": "MB"}
    facts += [(key, f"{found[key]} {unit}") for key, unit in units.items() if found[key] is not None]
    facts.append(("attempts", f"{found['attempt']} of {found['max_attempts']}"))
    if found["not_forked_because"]:
        facts.append(("not forked", found["not_forked_because"]))
    for key, value in facts:
        click.echo(f"{style(f'{key:<18}', dim=True)}{value}")
    for attempt in found["earlier_attempts"]:
        _show_attempt(attempt)
    for key in ("payload", "result"):
        if found[key] is not None:
            click.echo(style(f"{key}:", dim=True))
            print_json(found[key])
    if error := found["error"]:
        click.echo(f"{style(error['type'], fg='red', bold=True)}: {error['message']}")
        if error["stack"]:
            click.echo(style(error["stack"].rstrip(), dim=True))
    for line in found["logs"]:
        print_line(line)


def _show_attempt(attempt: dict[str, Any]) -> None:
    error = attempt["error"] or {"type": "", "message": ""}
    status = style(attempt["status"], fg=STATUS_COLOURS.get(attempt["status"]))
    took = "" if attempt["duration_ms"] is None else f"  {attempt['duration_ms']} ms"
    number = style(f"attempt {attempt['attempt']:<10}", dim=True)
    click.echo(f"{number}{status}{took}  {error['type']}: {error['message']}")


@invocations.command("logs")
@click.argument("id")
@click.option("--follow", is_flag=True, help="Print lines as they arrive until the invocation ends.")
@output_option
@connected
def logs(client: Client, id: str, follow: bool, output: str) -> None:
    """Print the log of an invocation.

    With --follow, exits with status 1 if the invocation does not succeed.
    """
    id = full_id(client, id)
    if not follow:
        lines = list(client.items(f"/invocations/{id}/logs"))
        if output == "json":
            print_json(lines)
        for line in lines if output == "table" else []:
            print_line(line)
        return
    for name, data in client.events(f"/invocations/{id}/logs"):
        if output == "json":
            print_json(data)
        elif name == "log":
            print_line(data)
        if name == "end":
            progress(f"{data['status']}")
            if data["status"] != "success":
                raise CommandFailed


@invocations.command("cancel")
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@output_option
@connected
def cancel(client: Client, ids: tuple[str, ...], output: str) -> None:
    """Cancel queued or running invocations."""
    for id in [full_id(client, prefix) for prefix in ids]:
        found = client.call("POST", f"/invocations/{id}/cancel").body
        if output == "json":
            print_json({"id": id, "status": found["status"]})
        else:
            click.echo(f"{id} {found['status'] if found['status'] in ENDED else 'is being stopped'}")


@invocations.command("retry")
@click.argument("ids", nargs=-1, metavar="[ID...]")
@filter_options(("error", "timeout"))
@click.option("--all", "everything", is_flag=True, help="Retry all failed invocations of all functions.")
@output_option
@connected
def retry(client: Client, ids: tuple[str, ...], everything: bool, output: str, **options: Any) -> None:
    """Retry failed invocations: those given, or all that match the options."""
    chosen = _values(client, options)
    if ids and (everything or chosen):
        raise click.UsageError("Give ids or options, not both.")
    selection = {"ids": [full_id(client, id) for id in ids]} if ids else chosen
    if not selection and not everything:
        raise click.UsageError("Give ids or options, or pass --all.")
    retried: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = client.call("POST", "/invocations/retry", {**selection, **({"cursor": cursor} if cursor else {})}).body
        retried += page["items"]
        cursor = page["next_cursor"]
    if output == "json":
        print_json(retried)
    else:
        click.echo(f"retried: {len(retried)}")
