"""What `zmesh dev --watch` adds to the platform: deployments on each save, a feed of runs, and commands of one key."""

from __future__ import annotations

import json
import os
import signal
import threading
import webbrowser
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from cli.access.console import is_built, sign_in_link
from cli.client import Client
from cli.config import Connection
from cli.output import progress, style, to_terminal
from cli.platform import hotkeys
from cli.platform.run_feed import RunFeed
from cli.platform.watching import Watcher

KEYS = {
    "i": "invoke again",
    "o": "open the console",
    "s": "run a schedule now",
    "c": "clear",
    "q": "quit",
    "?": "these keys",
}
CLEAR = "\x1b[H\x1b[2J\x1b[3J"  # the screen and its scrollback
GRAPHICAL = ("DISPLAY", "WAYLAND_DISPLAY")
MOST_CHOICES = 9
LONGEST_STOP = 2.0


class DevSession:
    """Threads beside the main one, which keeps the platform running."""

    def __init__(self, connect: Callable[[], Connection], folder: Path) -> None:
        self._screen = threading.RLock()
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self._terminal = ExitStack()
        self._client = Client(connect())
        self.watcher = Watcher(Client(connect()), folder, self._screen)
        self.feed = RunFeed(Client(connect()), self._screen, self.watcher.source_of)
        self._choices: list[str] = []  # ids of schedules, by the number to press

    def start(self) -> None:
        """Deploy the folder, and go on in the background."""
        targets = [self.feed.run, self.watcher.run]
        if hotkeys.is_terminal():
            self._terminal.enter_context(hotkeys.single_keys())
            targets.append(lambda stop: hotkeys.obey(self._actions(), stop))
            self._help()
        self._threads = [threading.Thread(target=target, args=(self._stop,), daemon=True) for target in targets]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End it, and leave the terminal as it was."""
        self._stop.set()
        self._terminal.close()
        for thread in self._threads[1:]:  # the feed waits for the API, which ends next
            thread.join(LONGEST_STOP)

    def _actions(self) -> dict[str, Callable[[], None]]:
        numbers = {str(n): lambda n=n: self._choose(n) for n in range(1, MOST_CHOICES + 1)}
        return {
            "i": self.invoke_again,
            "o": self._open_console,
            "s": self.run_schedule,
            "c": self._clear,
            "q": lambda: os.kill(os.getpid(), signal.SIGINT),
            "?": self._help,
            **numbers,
        }

    def _say(self, text: str) -> None:
        with self._screen:
            progress(text)

    def _clear(self) -> None:
        with self._screen:
            to_terminal(CLEAR)

    def _help(self) -> None:
        keys = "  ".join(f"{style(key, fg='cyan', bold=True)} {style(what, dim=True)}" for key, what in KEYS.items())
        self._say(keys)

    def invoke_again(self) -> None:
        """The last invocation with the same payload, or else the function that was deployed last. Raises CliError."""
        if self.feed.last is not None:
            last = self._client.call("GET", f"/invocations/{self.feed.last}").body
            name, payload = last["function"], last["payload"]
        elif (deployed := self.watcher.last_deployed) is not None:
            name, payload = deployed, {}
        else:
            self._say("Nothing has been invoked or deployed yet.")
            return
        text = json.dumps(payload, ensure_ascii=False)
        self._say(style(f"zmesh invoke {name} --data '{text if len(text) < 80 else text[:80] + '…'}'", dim=True))
        headers = {"Prefer": "respond-async", "X-Zmesh-Max-Attempts": "1"}
        self._client.call("POST", f"/functions/{name}/invoke", {"payload": payload}, headers=headers)

    def _open_console(self) -> None:
        if not is_built():
            self._say("This installation has no console.")
            return
        link = sign_in_link(self._client)
        self._say(link)
        if any(os.environ.get(name) for name in GRAPHICAL):  # a browser in this terminal would take it over
            webbrowser.open(link)

    def run_schedule(self) -> None:
        """The only schedule, or the one whose number is pressed next. Raises CliError."""
        found = self._client.call("GET", f"/schedules?limit={MOST_CHOICES}").body["items"]
        self._choices = [schedule["id"] for schedule in found]
        if not found:
            self._say("There is no schedule. Create one: zmesh schedules create FUNCTION CRON")
        elif len(found) == 1:
            self._choose(1)
        else:
            names = (f"{style(str(n), fg='cyan', bold=True)} {s['name']}" for n, s in enumerate(found, 1))
            self._say(f"Which one? {'  '.join(names)}")

    def _choose(self, number: int) -> None:
        if number <= len(self._choices):
            self._client.call("POST", f"/schedules/{self._choices[number - 1]}/run")
            self._choices = []
