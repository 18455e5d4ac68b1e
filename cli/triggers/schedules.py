"""`zmesh schedules`: list, create, update, pause, resume, run, preview, history and delete."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, tzinfo
from typing import Any, TypeVar

import click

from cli.client import ApiError, Client
from cli.completing import names_of
from cli.connecting import command_for, connected, find_function, find_named
from cli.groups import Group
from cli.output import local_time, output_option, print_json, print_table, progress, style
from cli.payloads import read_payload
from cli.prompts import confirm

Command = TypeVar("Command", bound=Callable[..., Any])
Schedule = dict[str, Any]

USUAL_POLICIES = {"overlap": "skip", "missed": "once"}  # `list` has a column where a schedule's is another
REASONS = {
    "fired": "fired",
    "run_now": "run on request",
    "skipped_overlap": "skipped: the previous run had not ended",
    "skipped_missed": "skipped: missed while the clock was stopped",
    "skipped_disabled": "skipped: the function was disabled",
    "skipped_paused": "skipped: paused",
    "skipped_changed": "skipped: the schedule was changed before it fired",
    "skipped_failed": "failed, and paused",
}


@click.group(cls=Group)
def schedules() -> None:
    """Invoke functions on a schedule."""


def settings_options(command: Command) -> Command:
    """What `create` and `update` have in common."""
    for option in (
        click.option("--missed", type=click.Choice(["skip", "once", "all"]), help="What to do about missed due times."),
        click.option(
            "--overlap", type=click.Choice(["skip", "queue"]), help="What to do if the previous run has not ended."
        ),
        click.option("--data", metavar="JSON", help="Payload: JSON, @FILE, or - for stdin."),
        click.option("--timezone", help="IANA name, such as Europe/Berlin. Default for a new one: UTC."),
        click.option("--name", help="Name of the schedule."),
    ):
        command = option(command)
    return command


def _values(data: str | None, settings: dict[str, Any]) -> dict[str, Any]:
    given = {key: value for key, value in settings.items() if value is not None}
    return given if data is None else {**given, "payload": json.loads(read_payload(data))}


@schedules.command("list")
@output_option
@connected
def list_schedules(client: Client, output: str) -> None:
    """List the schedules of the project."""
    found = list(client.items("/schedules"))
    if output == "json":
        print_json(found)
        return
    policies = [policy for policy, usual in USUAL_POLICIES.items() if any(one[policy] != usual for one in found)]
    rows = [
        [
            schedule["name"],
            schedule["function"],
            schedule["cron"],
            schedule["timezone"],
            local_time(schedule["next_due_at"]) if schedule["enabled"] else "paused",
            *(schedule[policy] for policy in policies),
        ]
        for schedule in found
    ]
    print_table(
        ("schedule", "function", "cron", "time zone", "next", *policies),
        rows,
        'No schedules yet. Create one: zmesh schedules create my-function "0 3 * * *"',
    )


@schedules.command("create")
@click.argument("function", shell_complete=names_of("functions"))
@click.argument("cron")
@settings_options
@click.option("--paused", is_flag=True, help="Create it paused.")
@output_option
@connected
def create(
    client: Client, function: str, cron: str, data: str | None, paused: bool, output: str, **settings: Any
) -> None:
    """Invoke FUNCTION on the schedule CRON, and show the next due times.

    CRON is minute, hour, day of month, month and day of week, as one argument; or @daily; or "30 seconds".
    """
    function_id = find_function(client, function)["id"]
    body = {"function_id": function_id, "cron": cron, "enabled": not paused, **_values(data, settings)}
    _show(client, client.call("POST", "/schedules", body).body, "created", output)


@schedules.command("update")
@click.argument("schedule", shell_complete=names_of("schedules"))
@click.option("--cron", help="New cron expression.")
@click.option("--function", help="New function.")
@settings_options
@output_option
@connected
def update(client: Client, schedule: str, function: str | None, data: str | None, output: str, **settings: Any) -> None:
    """Change a schedule and show the next due times."""
    changes = _values(data, settings)
    if function is not None:
        changes["function_id"] = find_function(client, function)["id"]
    if not changes:
        raise click.UsageError("Nothing to change: give at least one option.")
    _show(client, _change(client, schedule, changes), "updated", output)


@schedules.command("pause")
@click.argument("schedule", shell_complete=names_of("schedules"))
@output_option
@connected
def pause(client: Client, schedule: str, output: str) -> None:
    """Pause a schedule. Due times during the pause are skipped."""
    _show(client, _change(client, schedule, {"enabled": False}), "paused", output)


@schedules.command("resume")
@click.argument("schedule", shell_complete=names_of("schedules"))
@output_option
@connected
def resume(client: Client, schedule: str, output: str) -> None:
    """Resume a paused schedule and show the next due times."""
    _show(client, _change(client, schedule, {"enabled": True}), "resumed", output)


@schedules.command("run")
@click.argument("schedule", shell_complete=names_of("schedules"))
@output_option
@connected
def run(client: Client, schedule: str, output: str) -> None:
    """Run a schedule now."""
    found = find_schedule(client, schedule)
    started = client.call("POST", f"/schedules/{found['id']}/run").body
    if output == "json":
        print_json(started)
    else:
        click.echo(started["invocation_id"])
        progress(style(f"Its log: {command_for(client, 'functions', 'logs', found['function'])}", dim=True))


@schedules.command("preview")
@click.argument("cron")
@click.option("--timezone", default="UTC", show_default=True, help="IANA name, such as Europe/Berlin.")
@click.option("--count", type=click.IntRange(1, 100), default=5, show_default=True, help="Number of due times.")
@output_option
@connected
def preview(client: Client, cron: str, timezone: str, count: int, output: str) -> None:
    """Show the next due times of a cron expression, without saving it."""
    found = _preview(client, cron, timezone, count)
    if output == "json":
        print_json(found)
    else:
        _print_times(found["due_at"], timezone)


@schedules.command("history")
@click.argument("schedule", shell_complete=names_of("schedules"))
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True, help="Number of due times.")
@output_option
@connected
def history(client: Client, schedule: str, limit: int, output: str) -> None:
    """Show the latest due times, the newest last, and whether each fired."""
    id = find_schedule(client, schedule)["id"]
    found = client.call("GET", f"/schedules/{id}/runs?limit={limit}").body["items"][::-1]
    if output == "json":
        print_json(found)
        return
    rows = [
        [
            local_time(run["due_at"]) + (f" to {local_time(run['last_due_at'])}" if run["last_due_at"] else ""),
            REASONS.get(run["outcome"], run["outcome"]) + (f": {run['error']}" if run["error"] else ""),
            run["status"] or "",
            (run["invocation_id"] or "")[:18],
        ]
        for run in found
    ]
    print_table(("due", "outcome", "status", "invocation"), rows, "It has not come due yet.")


@schedules.command("delete")
@click.argument("schedule", shell_complete=names_of("schedules"))
@click.option("--yes", is_flag=True, help="Do not ask.")
@output_option
@connected
def delete(client: Client, schedule: str, yes: bool, output: str) -> None:
    """Delete a schedule and its history."""
    found = find_schedule(client, schedule)
    confirm(f"Delete the schedule {found['name']}?", yes=yes)
    client.call("DELETE", f"/schedules/{found['id']}")
    if output == "json":
        print_json({"action": "deleted", "id": found["id"], "name": found["name"]})
    else:
        click.echo(f"deleted {found['name']}")


def find_schedule(client: Client, name: str) -> Schedule:
    """The schedule with this name or id. Raises CliError with a suggestion."""
    return find_named(client, "/schedules", "schedule", name)


def _change(client: Client, name: str, changes: dict[str, Any]) -> Schedule:
    return dict(client.call("PATCH", f"/schedules/{find_schedule(client, name)['id']}", changes).body)


def _preview(client: Client, cron: str, timezone: str, count: int) -> dict[str, Any]:
    query = urllib.parse.urlencode({"cron": cron, "timezone": timezone, "count": count})
    return dict(client.call("GET", f"/schedules/preview?{query}").body)


def _show(client: Client, schedule: Schedule, action: str, output: str) -> None:
    if output == "json":
        print_json(schedule)
        return
    click.echo(f"{style(action, fg='green')} {style(schedule['name'], bold=True)} ({schedule['function']})")
    if not schedule["enabled"]:
        progress(style(f"paused: {command_for(client, 'schedules', 'resume', schedule['name'])}", dim=True))
        return
    with suppress(ApiError):
        _print_times(_preview(client, schedule["cron"], schedule["timezone"], 5)["due_at"], schedule["timezone"])


def _print_times(times: Sequence[str], timezone: str) -> None:
    """By the clock of the schedule's time zone, which is what a person wants to check."""
    zone = _zone(timezone)
    for text in times:
        click.echo(f"  {datetime.fromisoformat(text).astimezone(zone):%a %Y-%m-%d %H:%M:%S %Z}")


def _zone(name: str) -> tzinfo:
    from zoneinfo import ZoneInfo

    with suppress(OSError, ValueError):
        return ZoneInfo(name)
    return UTC  # this machine does not know the zone: each line says which one it is in
