"""`zmesh dev --watch`: deploys what was saved, and shows errors of code where they are."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from watchfiles import watch

from cli.client import Client
from cli.errors import CliError
from cli.functions.building import build_packages
from cli.functions.declared import find_sources, read_declared, with_resets
from cli.functions.deploying import UNLOADABLE, Deployment, deploy_functions, sources_of
from cli.functions.excerpts import located
from cli.functions.folders import NEVER_FILES, SETTINGS, is_function, shared_folders
from cli.manifest import is_project, read_project_file
from cli.output import progress, style
from cli.platform.watched_triggers import WatchedTriggers

QUIET_MS = 20  # after a save, for the editor's other files
LONGEST_QUIET_MS = 100
RETRY_MS = 1000  # while the API cannot be reached
Function = dict[str, Any]


class Watcher:
    """Deploys the functions of a folder whenever their files change. Nothing but `stop` ends it."""

    def __init__(self, client: Client, folder: Path, screen: threading.RLock) -> None:
        """`screen` is held while something of several lines is printed."""
        self._client = client
        self._folder = folder
        self._screen = screen
        self._seen: dict[Path, Function | str] = {}  # as it was last deployed or refused, or why it cannot be read
        self._sources: dict[str, tuple[Path, Function]] = {}
        self._deployed: dict[Path, Function] = {}
        self._triggers = WatchedTriggers(client, folder)
        self._declared_at = self._settings_written_at()
        self._complaint = ""  # why nothing can be deployed
        self._complaints: set[str] = set()  # about single functions of the project
        self._complaint_of_triggers = ""
        self._unreachable = False
        self.last_deployed: str | None = None

    def source_of(self, slug: str) -> tuple[Path, Function] | None:
        """The file or folder of a function, as it was last deployed."""
        return self._sources.get(slug)

    def run(self, stop: threading.Event) -> None:
        """Deploy everything, then what is saved, until `stop` is set."""
        self.deploy_changed()
        missed = True  # what was saved after that was read, and before anything watches
        for changes in watch(
            *self._watched(),
            watch_filter=lambda _, path: self._matters(Path(path)),
            debounce=LONGEST_QUIET_MS,
            step=QUIET_MS,
            stop_event=stop,
            rust_timeout=RETRY_MS,
            yield_on_timeout=True,
            raise_interrupt=False,
            ignore_permission_denied=True,
        ):
            if changes or missed or self._unreachable or self._settings_written_at() != self._declared_at:
                missed = False
                if changes:  # show the error with every save that it keeps from going live
                    self._complaint = ""
                self.deploy_changed()

    def _watched(self) -> list[Path]:
        """With the shared folders beside a function: it may import them."""
        folder = self._folder.resolve()
        try:
            is_alone = is_function(folder)
        except CliError:  # zmesh.toml is invalid; once repaired, it says what the folder is
            is_alone = True
        return [folder, *(shared_folders(folder.parent) if is_alone else [])]

    def _settings_written_at(self) -> list[int]:
        """When the zmesh.toml of the project around the folder was written; nothing else above it is watched."""
        found: list[int] = []
        for folder in self._folder.absolute().parents:
            with suppress(OSError):
                found.append((folder / SETTINGS).stat().st_mtime_ns)
        return found

    def _matters(self, path: Path) -> bool:
        inside = path.parts[len(self._folder.resolve().parent.parts) :]
        return not any(part.startswith(".") or part in NEVER_FILES for part in inside[1:])

    def deploy_changed(self) -> None:
        """Deploy what differs from what was last deployed; whatever is wrong is shown."""
        self._unreachable = False
        self._declared_at = self._settings_written_at()
        try:
            changed = self._read()
            if not (len(changed) > 1 and self._deploy(changed, quietly=True)):
                for source, function in changed.items():
                    self._deploy({source: function})
            if not self._complaint:
                self._deploy_triggers()
        except Exception as error:  # a file may vanish while it is read: the next save tries again
            self._complain(error if isinstance(error, CliError) else CliError(repr(error), code="watch_failed"))

    def _read(self) -> dict[Path, Function]:
        try:
            sources = self._sources_in_folder()
            self._complaint = ""
        except CliError as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                self._complain(error)
            return {}
        for gone in self._seen.keys() - set(sources):
            del self._seen[gone]
            self._note(f"{gone} is gone. Its function stays; delete it with `zmesh functions delete`.")
        changed: dict[Path, Function] = {}
        for source in sources:
            read = self._function_of(source)
            if read is not None and read != self._seen.get(source):
                changed[source] = read
        return self._without_twins(changed)

    def _sources_in_folder(self) -> list[Path]:
        if is_project(self._folder):
            sources, without_code = find_sources(self._folder, read_project_file(self._folder))
            self._complain_once(without_code)
            return list(sources.values())
        return sources_of([self._folder])

    def _complain_once(self, problems: list[CliError]) -> None:
        """Show the new ones among them; the other functions are deployed all the same."""
        for problem in problems:
            if str(problem) not in self._complaints:
                self._complain(problem)
        self._complaints = {str(problem) for problem in problems}

    def _function_of(self, source: Path) -> Function | None:
        try:
            return read_declared(source).function
        except CliError as error:
            if self._seen.get(source) != str(error):
                self._seen[source] = str(error)
                self._complain(error)
            return None

    def _without_twins(self, changed: dict[Path, Function]) -> dict[Path, Function]:
        """Without those whose name another source has too: they would replace each other for ever."""
        everything = {**{s: f for s, f in self._seen.items() if isinstance(f, dict)}, **changed}
        names = Counter(function["name"] for function in everything.values())
        for source, function in list(changed.items()):
            if names[function["name"]] > 1:
                self._seen[source] = changed.pop(source)
                self._note(f'{source} is not deployed: another file or folder is named "{function["name"]}" as well.')
        return changed

    def _deploy(self, functions: Mapping[Path, Function], *, quietly: bool = False) -> bool:
        """Deploy these, all or none. With `quietly`, errors are left to a second try of each."""
        began = time.monotonic()
        try:
            built = build_packages(self._client, functions.values(), fresh=False)
            wanted = {source: with_resets(one, self._deployed.get(source, {})) for source, one in functions.items()}
            done = deploy_functions(self._client, wanted, {}, built, force=False)
        except CliError as error:
            self._unreachable = error.code == "unreachable"
            if not quietly:
                [(source, function)] = functions.items()
                if not self._unreachable:
                    self._seen[source] = function
                self._complain(error, source, function)
            return False
        for (source, function), deployment in zip(functions.items(), done, strict=True):
            self._seen[source] = self._deployed[source] = function
            self._sources[deployment.after["slug"]] = (source, function)
            self.last_deployed = deployment.after["slug"]
            self._show(deployment, time.monotonic() - began)
        return True

    def _deploy_triggers(self) -> None:
        """Deployed after the functions that they invoke. A failure is retried with each save, and reported once."""
        try:
            for text in self._triggers.deploy_changed():
                self._note(text)
            self._complaint_of_triggers = ""
        except CliError as error:
            self._unreachable |= error.code == "unreachable"
            if str(error) != self._complaint_of_triggers:
                self._complaint_of_triggers = str(error)
                self._complain(error)

    def _show(self, deployment: Deployment, seconds: float) -> None:
        after = deployment.after
        if deployment.action == "unchanged":
            mark, facts = style("•", dim=True), "unchanged"
        else:
            mark, facts = style("•", fg="green"), f"{deployment.action} in {seconds * 1000:.0f} ms"
        self._note(f"{mark} {style(after['slug'], bold=True)} version {after['version']} {style(facts, dim=True)}")

    def _note(self, text: str) -> None:
        with self._screen:
            progress(f"{clock()} {text}")

    def _complain(self, error: CliError, source: Path | None = None, function: Function | None = None) -> None:
        place = located(error.place, source, function) if source and function else error.place
        with self._screen:
            progress(f"{clock()} {style('error', fg='red', bold=True)}: {error.message} [{error.code}]")
            if place:
                progress(place)
            if error.hint and error.code not in UNLOADABLE:
                progress(f"{style(' hint', fg='cyan')}: {error.hint}")


def clock() -> str:
    """The time of day, for the beginning of a line."""
    return style(datetime.now().strftime("%H:%M:%S"), dim=True)
