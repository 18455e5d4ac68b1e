"""A project folder: its functions with their code, and what its zmesh.toml declares, as the API takes them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cli.database.migrations import FOLDER as MIGRATIONS
from cli.database.migrations import read_migrations
from cli.errors import CliError, did_you_mean
from cli.functions.deploying import is_function_or_file, read_function
from cli.functions.folders import SETTINGS, read_folder
from cli.manifest import (
    FunctionSettings,
    ProjectFile,
    payload_of,
    read_function_file,
    read_project_file,
    shares_of,
)
from support.project_migrations import Migration

FUNCTIONS = "functions"
PULLED = Path(".zmesh", "pulled.json")


@dataclass(frozen=True, slots=True)
class Project:
    """What a folder declares. `functions` have code and files and are sent with their settings."""

    root: Path
    file: ProjectFile
    functions: list[dict[str, Any]]
    aliases: list[dict[str, Any]]
    migrations: list[Migration] | None

    def request(self) -> dict[str, Any]:
        """What POST /deployments/project takes."""
        return {
            "functions": self.functions,
            "schedules": list(self._schedules()),
            "webhooks": [
                {"name": name, **webhook.model_dump(exclude_unset=True)} for name, webhook in self.file.webhooks.items()
            ],
            "changes": [change.model_dump(exclude_unset=True) for change in self.file.changes],
            "aliases": self.aliases,
            "secrets": self.file.secrets,
            "migrations": self.migrations and [{"name": one.name, "sql": one.sql} for one in self.migrations],
            "based_on": pulled_state(self.root),
        }

    def _schedules(self) -> Iterator[dict[str, Any]]:
        for name, schedule in self.file.schedules.items():
            given = schedule.model_dump(exclude_unset=True, exclude={"payload", "payload_json"})
            yield {"name": name, **given, "payload": payload_of(name, schedule)}


def read_project(root: Path) -> Project:
    """What a project folder declares. Raises CliError."""
    file = read_project_file(root)
    sources = sources_of_functions(root, file)
    functions: list[dict[str, Any]] = []
    aliases: list[dict[str, Any]] = []
    for name, source in sorted(sources.items()):
        settings = file.functions.get(name, FunctionSettings())
        own = read_function_file(source) if source.is_dir() else FunctionSettings()
        functions.append({**_read(source, name, settings.entry), **own.fields(), **settings.fields()})
        for alias, shares in {**own.aliases, **settings.aliases}.items():
            aliases.append({"function": name, "name": alias, "versions": dict(shares_of(shares))})
    migrations = read_migrations(root / MIGRATIONS) if (root / MIGRATIONS).is_dir() else None
    return Project(root, file, functions, aliases, migrations)


def _read(source: Path, name: str, entry: str | None) -> dict[str, Any]:
    if entry is not None and source.is_dir():
        return read_folder(source, name, entry)
    return read_function(source, name)


def sources_of_functions(root: Path, file: ProjectFile) -> dict[str, Path]:
    """The file or folder of each function, by name: those in functions/, and those whose path is declared."""
    declared = {name: root / settings.path for name, settings in file.functions.items() if settings.path}
    taken = {path.resolve() for path in declared.values()}
    folder = root / FUNCTIONS
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else []:
        name = path.name if path.is_dir() else path.stem
        is_one = is_function_or_file(path) or (path.is_dir() and name in file.functions and file.functions[name].entry)
        if path.resolve() in taken or not is_one:
            continue
        if other := found.get(name) or declared.get(name):
            raise CliError(
                f'{other} and {path} both define the function "{name}".',
                code="name_taken",
                hint="Rename one of them.",
            )
        found[name] = path
    for name in file.functions.keys() - found.keys() - declared.keys():
        raise CliError(
            f'{root / SETTINGS}: [functions.{name}] has no code: there is no file or folder "{name}" in {folder}.',
            code="file_not_found",
            hint=did_you_mean(name, found) or "Add it, or say where it is: path = …",
        )
    return found | declared


def pulled_state(root: Path) -> Mapping[str, str] | None:
    """What `zmesh pull` has last seen, until it is deployed."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        return dict(json.loads((root / PULLED).read_text("utf-8"))["state"])
    return None


def remember_pulled(root: Path, state: Mapping[str, str]) -> None:
    """Let the next deployment change what has these hashes, and nothing that has changed since."""
    path = root / PULLED
    if not path.parent.exists():
        path.parent.mkdir()
        (path.parent / ".gitignore").write_text("*\n")
    path.write_text(json.dumps({"state": state}), "utf-8")


def forget_pulled(root: Path) -> None:
    """From now on the server knows what was deployed."""
    (root / PULLED).unlink(missing_ok=True)
