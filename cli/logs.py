"""What invocations logged, printed once, in order, now or as it comes."""

from __future__ import annotations

import json
import time
from typing import Any

import rich_click as click

from cli.client import Client
from cli.output import local_time, style

FOLLOW_SECONDS = 0.5
COLOURS = {"error": "red", "timeout": "red", "warning": "yellow", "cancelled": "yellow", "success": "green"}


class LogPrinter:
    """Prints the recent invocations of one function."""

    def __init__(self, client: Client, function_id: str, limit: int, *, in_json: bool) -> None:
        self._client = client
        self._path = f"/functions/{function_id}/invocations?limit={limit}"
        self._in_json = in_json
        self._printed: dict[str, int] = {}  # invocation → lines
        self._ended: set[str] = set()

    def run(self, *, follow: bool) -> None:
        """Print what is there; with `follow`, go on until interrupted."""
        while True:
            for invocation in reversed(self._client.call("GET", self._path).body["items"]):
                self._print_new(invocation)
            if not follow:
                return
            time.sleep(FOLLOW_SECONDS)

    def _print_new(self, invocation: dict[str, Any]) -> None:
        id, lines = invocation["id"], invocation["logs"]
        for line in lines[self._printed.get(id, 0) :]:
            if self._in_json:
                click.echo(json.dumps({"invocation_id": id, **line}, ensure_ascii=False))
            else:
                _print_line(line["at"], id, line["level"], line["message"])
        self._printed[id] = len(lines)
        if invocation["finished_at"] and id not in self._ended:
            self._ended.add(id)
            if not self._in_json:
                error = invocation["error"]
                text = f"{error['type']}: {error['message']}" if error else f"{invocation['duration_ms']} ms"
                _print_line(invocation["finished_at"], id, invocation["status"], text)


def _print_line(at: str, id: str, level: str, message: str) -> None:
    head = f"{style(local_time(at), dim=True)} {style(id[-6:], fg='cyan')}"
    click.echo(f"{head} {style(f'{level:<7}', fg=COLOURS.get(level))} {message}")
