"""Functions that a person would write: one file or folder each, described in manifest.json."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import PurePath
from typing import Any

LANGUAGES = {".js": "javascript", ".py": "python", ".ts": "typescript"}


@dataclass(frozen=True, slots=True)
class Example:
    """One function; of a folder, `filename` is its entry file. `settings` holds what differs from the defaults:
    timeout_ms, memory_mb, env_vars."""

    name: str
    filename: str
    language: str
    code: str
    description: str
    settings: dict[str, Any]
    payload: Any
    files: dict[str, str]

    @property
    def source(self) -> dict[str, Any]:
        """Its code, as requests send it."""
        if not self.files:
            return {"language": self.language, "code": self.code}
        return {"language": self.language, "files": self.files, "entry_file": PurePath(self.filename).name}


def load() -> list[Example]:
    """Every example, in the order of the manifest."""
    folder = resources.files("examples")
    manifest: dict[str, dict[str, Any]] = json.loads((folder / "manifest.json").read_text("utf-8"))
    return [_example(folder, name, entry) for name, entry in manifest.items()]


def setup() -> list[tuple[str, Any]]:
    """What is invoked once, in this order, so that every example finds its tables: names and payloads."""
    folder = resources.files("examples")
    calls: list[tuple[str, Any]] = []
    for call in json.loads((folder / "setup.json").read_text("utf-8")):
        payload = call["payload"]
        if "csv" in payload:
            payload = {**payload, "csv": folder.joinpath(*payload["csv"].split("/")).read_text("utf-8")}
        calls.append((call["function"], payload))
    return calls


def _example(folder: Traversable, filename: str, entry: dict[str, Any]) -> Example:
    path = PurePath(filename)
    is_folder = len(path.parts) > 1
    settings = {key: value for key, value in entry.items() if key not in ("description", "payload")}
    return Example(
        name=path.parts[0] if is_folder else path.stem,
        filename=filename,
        language=LANGUAGES[path.suffix],
        code=folder.joinpath(*path.parts).read_text("utf-8"),
        description=entry["description"],
        settings=settings,
        payload=entry["payload"],
        files=_files(folder / path.parts[0]) if is_folder else {},
    )


def _files(folder: Traversable, prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for entry in folder.iterdir():
        if entry.is_file():
            found[f"{prefix}{entry.name}"] = entry.read_text("utf-8")
        elif entry.name != "__pycache__":
            found |= _files(entry, f"{prefix}{entry.name}/")
    return found
