"""`zmesh dev --watch`: what is saved is deployed, what runs is shown, and nothing ends it but its user."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cli.client import Client
from cli.config import Connection
from cli.errors import CliError
from cli.platform import hotkeys
from cli.platform.dev_session import CLEAR, DevSession
from cli.platform.watching import Watcher
from tests.platform import COMMANDS, ZMESH, Platform, Process, clean_environment, eventually

HANDLER = "def handler(payload, zmesh):\n    return {}\n"


class Screen:
    """What has been printed since it was last cleared."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self._text = ""

    def clear(self) -> None:
        self.text()
        self._text = ""

    def text(self) -> str:
        self._text += self._capsys.readouterr().err
        return self._text

    def wait_for(self, text: str) -> str:
        return eventually(lambda: self.text() if text in self.text() else None, f"{text!r} on the screen")


@pytest.fixture
def screen(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Screen:
    monkeypatch.setenv("NO_COLOR", "1")
    return Screen(capsys)


@contextmanager
def session(platform: Platform, folder: Path) -> Iterator[DevSession]:
    running = DevSession(lambda: Connection(platform.url, platform.token), folder)
    running.start()
    try:
        yield running
    finally:
        running.stop()


def test_saves_are_deployed_and_errors_show_their_lines(
    running_platform: Platform, tmp_path: Path, screen: Screen
) -> None:
    watched = tmp_path / "watched.py"
    watched.write_text(HANDLER.format("'one'"))
    with session(running_platform, tmp_path) as running:
        screen.wait_for("watched version 1 created in")
        running.feed.connected.wait(60)
        screen.clear()
        watched.write_text("def handler(payload, zmesh):\n    return (\n")
        assert f"  {watched}:2:12\n    1 │ def handler" in screen.wait_for("│            ^")
        assert running_platform.result("watched") == "one"
        assert "watched success" in screen.wait_for("by api")
        screen.clear()
        (tmp_path / "another.py").write_text(HANDLER.format("'another'"))
        screen.wait_for("another version 1 created in")
        watched.write_text(HANDLER.format("payload['no']"))
        screen.wait_for("watched version 2 updated in")
        screen.clear()
        running.invoke_again()
        shown = screen.wait_for("~~~~~~~^^^^^^")
        assert "zmesh invoke watched --data '{}'" in shown
        assert f"KeyError: 'no'\n  {watched}:2:12\n" in shown
        assert "watched error" in shown


@pytest.mark.parametrize("watched", [".", "functions"])
def test_settings_of_a_project_are_live_as_soon_as_they_are_saved(
    running_platform: Platform, tmp_path: Path, screen: Screen, watched: str
) -> None:
    name = "settled-here" if watched == "." else "settled-below"
    (tmp_path / "functions").mkdir()
    (tmp_path / "package.json").write_text('{ "private": true }\n')
    (tmp_path / "functions" / f"{name}.py").write_text("def handler(payload, zmesh):\n    return dict(zmesh.env)\n")
    settings = tmp_path / "zmesh.toml"
    settings.write_text(f'[functions.{name}]\nmemory_mb = 300\nenv = {{ A = "1", B = "2" }}\n')
    with session(running_platform, tmp_path / watched):
        screen.wait_for(f"{name} version 1 created in")
        assert running_platform.result(name) == {"A": "1", "B": "2"}
        screen.clear()
        settings.write_text(f"[functions.{name}]\nmemory_mbs = 300\n")
        screen.wait_for('zmesh.toml:2: unknown key "memory_mbs"')
        settings.write_text(f'[functions.{name}]\nenv = {{ B = "3" }}\n')
        screen.wait_for(f"{name} version 1 updated in")
        assert running_platform.result(name) == {"B": "3"}
        assert running_platform.request("GET", f"/functions/{name}").json()["memory_mb"] == 256


def test_triggers_of_a_project_are_live_as_soon_as_they_are_saved(
    running_platform: Platform, tmp_path: Path, screen: Screen
) -> None:
    (tmp_path / "functions").mkdir()
    (tmp_path / "functions" / "rung.py").write_text(HANDLER)
    settings = tmp_path / "zmesh.toml"
    schedule = '[schedules.rung-nightly]\nfunction = "{}"\ncron = "{}"\n'
    settings.write_text(schedule.format("rang", "0 3 * * *"))
    with session(running_platform, tmp_path):
        screen.wait_for('There is no function "rang" for a trigger to invoke')
        settings.write_text(schedule.format("rung", "0 3 * * *"))
        screen.wait_for("schedule rung-nightly created")
        settings.write_text(schedule.format("rung", "0 4 * * *") + '[webhooks.rung-hook]\nfunction = "rung"\n')
        assert f"webhook rung-hook created {running_platform.url}/" in screen.wait_for("rung-hook")
        assert "schedule rung-nightly updated" in screen.text()
        [night] = [
            one
            for one in running_platform.request("GET", "/schedules").json()["items"]
            if one["name"] == "rung-nightly"
        ]
        assert night["cron"] == "0 4 * * *"
        running_platform.request("PATCH", f"/schedules/{night['id']}", json={"cron": "0 5 * * *"})
        settings.write_text(schedule.format("rung", "0 6 * * *"))
        screen.wait_for("Triggers that zmesh.toml declares were changed elsewhere.")
        settings.write_text(schedule.format("rung", "0 5 * * *"))
        screen.wait_for("webhook rung-hook is no longer declared. It stays")


def test_a_platform_that_is_running_already_gets_what_is_saved(running_platform: Platform, tmp_path: Path) -> None:
    facts = json.loads((running_platform.folder / ".zmesh" / "dev.json").read_text())
    environment = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "ZMESH_PASSWORD": facts["admin_password"]}
    login = ("login", "--url", running_platform.url, "--email", facts["admin_email"], "--profile", "there")
    COMMANDS.run(login, cwd=tmp_path, env={**clean_environment(), **environment})
    (folder := tmp_path / "code").mkdir()
    (folder / "watched-there.py").write_text(HANDLER)
    command = ["dev", "--watch", str(folder), "--profile", "there"]
    watching = Process(command, tmp_path / "log", {**environment, "NO_COLOR": "1"}, tmp_path)
    try:
        watching.line(f"! Each save is deployed to there ({running_platform.url})")
        eventually(lambda: "watched-there version 1 created in" in watching.output(), "the first deployment")
        (folder / "watched-there.py").write_text(HANDLER.replace("{}", "[1]"))
        eventually(lambda: "watched-there version 2 updated in" in watching.output(), "the second")
        assert running_platform.result("watched-there") == [1]
    finally:
        watching.signal(signal.SIGINT)
        assert watching.wait() == 0
    refused = COMMANDS.run(["dev", "--profile", "there"], cwd=tmp_path, env={**clean_environment(), **environment})
    assert "--profile needs --watch DIR" in refused.stderr


def test_a_function_that_lost_its_code_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, screen: Screen
) -> None:
    (tmp_path / "functions").mkdir()
    (tmp_path / "zmesh.toml").write_text("[functions.a]\n")
    (tmp_path / "functions" / "a.py").write_text(HANDLER)
    deployed = Deployed(tmp_path, monkeypatch)
    assert deployed.after_save() == [["a.py"]]
    (tmp_path / "functions" / "a.py").rename(tmp_path / "functions" / "b.py")
    assert deployed.after_save() == [["b.py"]]
    assert deployed.after_save() == []
    assert screen.text().count("[functions.a] has no code") == screen.text().count("a.py is gone") == 1


def test_each_save_shows_the_error_that_keeps_it_from_going_live(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, screen: Screen
) -> None:
    settings = tmp_path / "zmesh.toml"
    settings.write_text("[functions.a\n")
    deployed = Deployed(tmp_path, monkeypatch)
    stop = threading.Event()

    def watch(*_: Path, **__: Any) -> Iterator[set[Any]]:
        yield set()  # nothing was saved
        yield {("modified", str(settings))}
        stop.set()

    monkeypatch.setattr("cli.platform.watching.watch", watch)
    deployed.watcher.run(stop)
    assert screen.text().count("zmesh.toml cannot be read") == 2


class Deployed:
    """A watcher over a folder that deploys nothing, but says what it would."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent: list[list[str]] = []
        self.fails: Callable[[dict[Path, Any]], CliError | None] = lambda _: None
        self.watcher = Watcher(Client(Connection("http://127.0.0.1:1")), folder, threading.RLock())
        monkeypatch.setattr("cli.platform.watching.deploy_functions", self._deploy)

    def _deploy(self, _client: Client, functions: dict[Path, Any], *_: Any, **__: Any) -> list[Any]:
        self.sent.append([source.name for source in functions])
        if error := self.fails(functions):
            raise error
        return [
            type("Done", (), {"action": "created", "after": {"slug": function["name"], "version": 1}})()
            for function in functions.values()
        ]

    def after_save(self) -> list[list[str]]:
        self.sent = []
        self.watcher.deploy_changed()
        return self.sent


def test_one_broken_function_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, screen: Screen
) -> None:
    for name in ("a.py", "b.py", "c.py"):
        (tmp_path / name).write_text(HANDLER)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "zmesh.toml").write_text("entry = 7")
    (tmp_path / "broken" / "main.py").write_text("")
    deployed = Deployed(tmp_path, monkeypatch)
    bad = CliError("cannot be loaded.", code="syntax_error")
    deployed.fails = lambda functions: bad if tmp_path / "b.py" in functions else None
    assert deployed.after_save() == [["a.py", "b.py", "c.py"], ["a.py"], ["b.py"], ["c.py"]]
    said = screen.text()
    assert said.count("cannot be loaded") == said.count("zmesh.toml:1: entry: ") == 1
    assert deployed.after_save() == []  # and nothing is said twice
    assert screen.text() == said
    (tmp_path / "b.py").write_text(HANDLER + "\n")
    assert deployed.after_save() == [["b.py"]]
    (tmp_path / "a.py").unlink()
    assert deployed.after_save() == []
    assert "a.py is gone" in screen.text()


def test_what_could_not_be_sent_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, screen: Screen) -> None:
    (tmp_path / "a.py").write_text(HANDLER)
    deployed = Deployed(tmp_path, monkeypatch)
    deployed.fails = lambda _: CliError("Cannot reach zMesh.", code="unreachable")
    assert deployed.after_save() == [["a.py"]]
    deployed.fails = lambda _: None
    assert deployed.after_save() == [["a.py"]]
    assert deployed.after_save() == []
    assert "a version 1 created" in screen.text()


def test_what_is_saved_before_anything_watches_is_deployed_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, screen: Screen
) -> None:
    (tmp_path / "a.py").write_text(HANDLER)
    deployed = Deployed(tmp_path, monkeypatch)
    stop = threading.Event()

    def watch(*_: Path, **__: Any) -> Iterator[set[Any]]:
        (tmp_path / "a.py").write_text(HANDLER + "\n")
        yield set()  # as after a second in which nothing changed
        stop.set()

    monkeypatch.setattr("cli.platform.watching.watch", watch)
    deployed.watcher.run(stop)
    assert deployed.sent == [["a.py"], ["a.py"]]


def test_of_two_sources_with_one_name_the_second_stays_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, screen: Screen
) -> None:
    (tmp_path / "a.py").write_text(HANDLER)
    deployed = Deployed(tmp_path, monkeypatch)
    assert deployed.after_save() == [["a.py"]]
    (tmp_path / "a.js").write_text("exports.handler = () => 1;")
    assert deployed.after_save() == []
    assert 'another file or folder is named "a" as well' in screen.text()


@pytest.mark.parametrize(
    ("path", "matters"),
    [("a.py", True), ("f/lib/x.txt", True), (".zmesh/run/1/x.py", False), ("f/node_modules/x/y.js", False)],
)
def test_what_is_no_source_wakes_nobody(tmp_path: Path, path: str, matters: bool) -> None:
    folder = tmp_path / ".hidden" / "app"  # what lies above the folder does not count
    watcher = Watcher(Client(Connection("http://127.0.0.1:1")), folder, threading.RLock())
    assert watcher._matters(folder / path) is matters


def test_single_keys_are_obeyed_and_the_terminal_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    pressed: list[str] = []
    stop = threading.Event()

    def fail() -> None:
        pressed.append("failed")
        raise CliError("no", code="no")

    with os.fdopen(theirs, "rb", buffering=0) as stdin, os.fdopen(ours, "wb", buffering=0) as keyboard:
        monkeypatch.setattr(sys, "stdin", stdin)
        actions = {"a": lambda: pressed.append("a"), "f": fail, "q": stop.set}
        with hotkeys.single_keys():
            thread = threading.Thread(target=hotkeys.obey, args=(actions, stop))
            thread.start()
            keyboard.write(b"f")
            eventually(lambda: pressed == ["failed"], "the action of a key")
            keyboard.write(b"xa")
            eventually(lambda: "a" in pressed, "an action after one that failed")
            keyboard.write(b"q")
            thread.join(60)
        assert termios.tcgetattr(theirs) == before
    assert pressed == ["failed", "a"]


@pytest.mark.parametrize(("read", "keys"), [("i", "i"), ("?o", "?o"), ("\x1b[A", ""), ("pasted text", "")])
def test_a_paste_or_an_arrow_is_no_command(read: str, keys: str) -> None:
    assert hotkeys.meant(read) == keys


@pytest.mark.timeout(300)
def test_q_ends_everything_and_restores_the_terminal(tmp_path: Path) -> None:
    source = tmp_path / "app"
    source.mkdir()
    (source / "hello.py").write_text(HANDLER.format(1))
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    options = ["--home", str(tmp_path / ".zmesh"), "--port", "0", "--no-examples", "--watch", str(source)]
    dev = subprocess.Popen(
        [*ZMESH, "dev", *options], stdin=theirs, stdout=theirs, stderr=theirs, cwd=tmp_path, env=clean_environment()
    )
    said = b""
    try:
        while b"hello version 1" not in said:
            said += os.read(ours, 65536)
        assert re.search(rb"i invoke again  o open the console", said)
        os.write(ours, b"c")
        while CLEAR.encode() not in said:
            said += os.read(ours, 65536)
        assert b"Next, in another terminal:" not in said  # there is nothing to do there
        os.write(ours, b"q")
        assert dev.wait(60) == 0
        assert termios.tcgetattr(theirs) == before
    finally:
        if dev.poll() is None:
            dev.send_signal(signal.SIGTERM)
            dev.wait(60)
        os.close(ours)
        os.close(theirs)
