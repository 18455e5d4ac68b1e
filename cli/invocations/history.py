"""`zmesh functions logs`: invocations and what they printed."""

from __future__ import annotations

import itertools
import json
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, NoReturn

import click

from cli.client import Client
from cli.completing import names_of
from cli.connecting import command_for, connected, find_function
from cli.errors import CliError
from cli.output import age, local_time, output_option, print_json, progress, style, unique_length

FOLLOW_SECONDS = 1.0
MOST_FOLLOWED = 16
NAME_WIDTH = 18
SHORT_ID = 13  # of a time-ordered id: the millisecond it was made in
ENDED = ("success", "error", "timeout", "cancelled")
STATUS_COLOURS = {"success": "green", "error": "red", "timeout": "red", "cancelled": "yellow"}
LEVEL_COLOURS = {"error": "red", "warning": "yellow", "debug": "bright_black"}
Invocation = dict[str, Any]


@click.command()
@click.argument("name", shell_complete=names_of("functions"))
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True, help="Number of invocations.")
@click.option("--follow", is_flag=True, help="Keep printing lines as they arrive; in JSON, each invocation as it ends.")
@output_option
@connected
def logs(client: Client, name: str, limit: int, follow: bool, output: str) -> None:
    """Print a function's latest invocations with their logs, the newest last."""
    path = f"/functions/{find_function(client, name)['id']}/invocations"
    recent: list[Invocation] = client.call("GET", f"{path}?limit={limit}").body["items"][::-1]
    if output == "json" and not follow:
        print_json(recent)
        return
    if not recent:
        progress(f"{name} has not been invoked yet. Try: {command_for(client, 'functions', 'invoke', name)}")
    for invocation in recent if not follow else [i for i in recent if i["status"] in ENDED]:
        show(invocation, output)
    if follow:
        seen = {invocation["id"] for invocation in recent if invocation["status"] in ENDED}
        oldest = recent[0]["id"] if recent else ""
        if output == "table":
            LogFollower(client, path, seen).run(oldest)
        for invocation in _newly_ended(client, path, seen, oldest):
            show(invocation, output)


class LogFollower:
    """Prints what a function's invocations print, line by line, each followed on a connection of its own."""

    def __init__(self, client: Client, path: str, seen: set[str]) -> None:
        self._client = client
        self._path = path
        self._seen = seen  # printed, or being followed
        self._followed = 0
        self._lock = threading.Lock()

    def run(self, oldest: str) -> NoReturn:
        """For ever. Ids grow with time: no invocation before `oldest` is of interest."""
        while True:
            recent = list(
                itertools.takewhile(lambda i: i["id"] >= oldest, self._client.items(self._path))  # noqa: B023
            )
            for invocation in reversed(recent):
                self._handle(invocation)
            waiting = [i["id"] for i in recent if i["id"] not in self._seen]
            oldest = min(waiting, default=recent[0]["id"] if recent else oldest)
            time.sleep(FOLLOW_SECONDS)

    def _handle(self, invocation: Invocation) -> None:
        if invocation["id"] in self._seen:
            return
        if invocation["status"] in ENDED:
            self._seen.add(invocation["id"])
            with self._lock:
                show(invocation, "table")
        elif invocation["status"] == "running" and self._followed < MOST_FOLLOWED:
            self._seen.add(invocation["id"])
            self._followed += 1
            threading.Thread(target=self._follow, args=(invocation["id"],), daemon=True).start()

    def _follow(self, id: str) -> None:
        try:
            for name, data in self._client.events(f"/invocations/{id}/logs"):
                with self._lock:
                    if name == "log":
                        print_line(data, id)
                        sys.stdout.flush()
            ended = self._client.call("GET", f"/invocations/{id}").body
            with self._lock:
                show({**ended, "logs": [], "logs_truncated": False}, "table")
        except CliError as error:
            with self._lock:
                error.show()
        finally:
            self._followed -= 1


def _newly_ended(client: Client, path: str, seen: set[str], oldest: str) -> Iterator[Invocation]:
    """Invocations as they end, forever. Ids grow with time: none before `oldest` is relevant."""
    while True:
        time.sleep(FOLLOW_SECONDS)
        recent = list(itertools.takewhile(lambda i: i["id"] >= oldest, client.items(path)))  # noqa: B023 - used at once
        if not recent:
            continue
        yield from (i for i in reversed(recent) if i["status"] in ENDED and i["id"] not in seen)
        seen = {i["id"] for i in recent if i["status"] in ENDED}
        oldest = min((i["id"] for i in recent if i["status"] not in ENDED), default=recent[0]["id"])


def show(invocation: Invocation, output: str) -> None:
    if output == "json":  # one line each, so that a program can read while it follows
        click.echo(json.dumps(invocation, ensure_ascii=False))
    else:
        print_invocation(invocation)
    sys.stdout.flush()


def print_invocation(invocation: Invocation) -> None:
    click.echo(heading(invocation))
    if invocation["logs_truncated"]:
        click.echo(style("    (earlier lines omitted)", dim=True))
    for line in invocation["logs"]:
        print_line(line)
    if error := invocation["error"]:
        print_error(error)


def print_invocations(found: Sequence[Invocation]) -> None:
    """A table of invocations; an error is shown below its row."""
    headings = ("function", "status", "age", "time", "ver", "by", "invocation")
    shown = unique_length([invocation["id"] for invocation in found], SHORT_ID)
    rows = [_row(invocation, shown) for invocation in found]
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    click.echo(style("  ".join(map(str.ljust, headings, widths)).rstrip(), bold=True))
    for invocation, row in zip(found, rows, strict=True):
        cells = list(map(str.ljust, row, widths))
        cells[0] = style(cells[0], bold=True)
        cells[1] = style(cells[1], fg=STATUS_COLOURS.get(invocation["status"]))
        cells[-1] = style(cells[-1], dim=True)
        click.echo("  ".join(cells).rstrip())
        if error := invocation["error"]:
            print_error(error)


def _row(invocation: Invocation, id_length: int) -> list[str]:
    name, attempt = invocation["function"], invocation["attempt"]
    return [
        name if len(name) <= NAME_WIDTH else f"{name[: NAME_WIDTH - 1]}…",
        invocation["status"] + (f" ({attempt})" if attempt > 1 else ""),
        age(invocation["created_at"]),
        f"{invocation['duration_ms']} ms" if invocation["duration_ms"] is not None else "",
        f"v{invocation['version']}" if invocation["version"] else "",
        invocation["source"],
        invocation["id"][:id_length],
    ]


def print_error(error: dict[str, Any]) -> None:
    """Type and message, below the row of the invocation."""
    message = error["message"].replace("\n", "\n    ")
    click.echo(f"    {style(error['type'], fg='red')}: {message}")


def heading(invocation: Invocation) -> str:
    """A summary of an invocation in one line."""
    status = invocation["status"]
    facts = [
        local_time(invocation["created_at"]),
        style(f"{status:<9}", fg=STATUS_COLOURS.get(status)),
        f"{invocation['duration_ms']} ms" if invocation["duration_ms"] is not None else "",
        f"version {invocation['version']}" if invocation["version"] else "",
        f"by {invocation['source']}",
        f"attempt {invocation['attempt']}" if invocation["attempt"] > 1 else "",
        style(invocation["id"], dim=True),
    ]
    return "  ".join(fact for fact in facts if fact)


def print_line(line: dict[str, Any], id: str = "", *, err: bool = False) -> None:
    """A log line, with the end of the invocation's id if several are mixed."""
    at = datetime.fromisoformat(line["at"]).astimezone().strftime("%H:%M:%S.%f")[:-3]
    level = style(f"{line['level']:<7}", fg=LEVEL_COLOURS.get(line["level"]))
    click.echo(f"    {style(f'{at} {id[-6:]}'.rstrip(), dim=True)} {level} {line['message']}", err=err)
