"""What a project's functions do, as it happens: log lines, ends, and errors with the lines of the author's files."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cli.client import Client
from cli.errors import CliError
from cli.functions.excerpts import show_error, texts_of
from cli.invocations.history import ENDED, MOST_FOLLOWED, SHORT_ID, STATUS_COLOURS, print_line
from cli.output import progress, style
from cli.platform.watching import clock

RECONNECT_SECONDS = 1.0
MOST_SHOWN = 20  # of the invocations that ended within the same half second
MOST_REMEMBERED = 5000
Source = tuple[Path, dict[str, Any]]


class RunFeed:
    """Follows a project's invocations. Runs that last get a connection of their own, others are shown once they end."""

    def __init__(
        self, client: Client, screen: threading.RLock, source_of: Callable[[str], Source | None] = lambda _: None
    ) -> None:
        """`source_of` finds the file or folder of a function, by its slug."""
        self._client = client
        self._screen = screen
        self._source_of = source_of
        self._followed: set[str] = set()
        self._shown: dict[str, None] = {}
        self.connected = threading.Event()
        self.last: str | None = None  # id of the invocation that ended last

    def run(self, stop: threading.Event) -> None:
        """Until `stop` is set."""
        while not stop.is_set():
            try:
                for name, data in self._client.live("/live?topics=invocations", self.connected.set):
                    if stop.is_set():
                        return
                    if name == "invocations":
                        self._handle(data["items"])
            except CliError:
                stop.wait(RECONNECT_SECONDS)  # the API comes back, or the whole platform ends

    def _handle(self, items: list[dict[str, Any]]) -> None:
        ended = [item for item in items if item["status"] in ENDED]
        for item in items:
            if item["status"] == "running":
                self._follow(item)
        fresh = [item for item in ended if item["id"] not in self._followed and item["id"] not in self._shown]
        for item in fresh[:MOST_SHOWN]:
            self._show(item["id"])
        if len(fresh) > MOST_SHOWN:
            with self._screen:
                progress(f"{clock()} … and {len(fresh) - MOST_SHOWN} more invocations ended.")
        if deployed := [item for item in ended if (item["version"] or 0) > 0]:  # others were drafts, or never ran
            self.last = deployed[-1]["id"]
        self._shown.update((item["id"], None) for item in fresh)
        while len(self._shown) > MOST_REMEMBERED:
            del self._shown[next(iter(self._shown))]

    def _follow(self, item: Mapping[str, Any]) -> None:
        if item["id"] not in self._followed and len(self._followed) < MOST_FOLLOWED:
            self._followed.add(item["id"])
            threading.Thread(target=self._print_log, args=(item["id"], item["function"]), daemon=True).start()

    def _print_log(self, id: str, function: str) -> None:
        with self._screen:
            progress(f"{clock()} {style(function, bold=True)} running {style(id[:SHORT_ID], dim=True)}")
        try:
            for name, line in self._client.events(f"/invocations/{id}/logs"):
                if name == "log":
                    with self._screen:
                        print_line(line, id, err=True)
            self._shown[id] = None
            self._show(id, with_log=False)
        except CliError:
            pass  # as in run()
        finally:
            self._followed.discard(id)

    def _show(self, id: str, *, with_log: bool = True) -> None:
        ended = self._client.call("GET", f"/invocations/{id}").body
        with self._screen:
            progress(_heading(ended))
            for line in ended["logs"] if with_log else ():
                print_line(line, err=True)
            if ended["error"]:
                path, function = self._source_of(ended["function"]) or (Path(), None)
                show_error(ended["error"], texts_of(function, ended["function"]) if function else {}, path)


def _heading(ended: Mapping[str, Any]) -> str:
    status = style(ended["status"], fg=STATUS_COLOURS.get(ended["status"]))
    facts = [
        f"{ended['duration_ms']} ms" if ended["duration_ms"] is not None else "",
        f"version {ended['version']}" if ended["version"] else "",
        f"by {ended['source']}",
        f"attempt {ended['attempt']}" if ended["attempt"] > 1 else "",
        ended["id"][:SHORT_ID],
    ]
    shown = style("  ".join(fact for fact in facts if fact), dim=True)
    return f"{clock()} {style(ended['function'], bold=True)} {status} {shown}"
