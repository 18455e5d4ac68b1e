"""A project folder: its functions with their code, and what its zmesh.toml declares, as the API takes them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cli.database.migrations import FOLDER as MIGRATIONS
from cli.database.migrations import read_migrations
from cli.functions.declared import declared_function, sources_of_functions
from cli.manifest import FunctionSettings, ProjectFile, check_inside, payload_of, read_project_file, shares_of
from support.project_migrations import Migration

PULLED = Path(".zmesh", "pulled.json")


@dataclass(frozen=True, slots=True)
class Project:
    """What a folder declares. `functions` have code and files and are sent with their settings."""

    root: Path
    file: ProjectFile
    functions: list[dict[str, Any]]
    aliases: list[dict[str, Any]]
    migrations: list[Migration] | None
    sources: Mapping[str, Path] = field(default_factory=dict)

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
        one = declared_function(source, name, file.functions.get(name, FunctionSettings()))
        functions.append({**one.code, **one.settings})
        for alias, shares in one.aliases.items():
            aliases.append({"function": name, "name": alias, "versions": dict(shares_of(shares))})
    migrations = read_migrations(root / MIGRATIONS) if (root / MIGRATIONS).is_dir() else None
    return Project(root, file, functions, aliases, migrations, sources)


def pulled_state(root: Path) -> Mapping[str, str] | None:
    """What `zmesh pull` has last seen, until it is deployed."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        return dict(json.loads((root / PULLED).read_text("utf-8"))["state"])
    return None


def remember_pulled(root: Path, state: Mapping[str, str]) -> None:
    """Let the next deployment change what has these hashes, and nothing that has changed since. Raises CliError."""
    path = root / PULLED
    check_inside(root, path)
    if not path.parent.exists():
        path.parent.mkdir()
        (path.parent / ".gitignore").write_text("*\n")
    path.write_text(json.dumps({"state": state}), "utf-8")


def forget_pulled(root: Path) -> None:
    """From now on the server knows what was deployed."""
    (root / PULLED).unlink(missing_ok=True)
