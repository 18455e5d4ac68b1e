"""Functions that a person would write: one file each, described in manifest.json."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from pathlib import PurePath
from typing import Any

LANGUAGES = {".js": "javascript", ".py": "python", ".ts": "typescript"}


@dataclass(frozen=True, slots=True)
class Example:
    """One function. `settings` holds what differs from the defaults: timeout_ms, memory_mb, env_vars."""

    name: str
    filename: str
    language: str
    code: str
    description: str
    settings: dict[str, Any]
    payload: Any


def load() -> list[Example]:
    """Every example, in the order of the manifest."""
    folder = resources.files("examples")
    manifest: dict[str, dict[str, Any]] = json.loads((folder / "manifest.json").read_text("utf-8"))
    return [_example(name, (folder / name).read_text("utf-8"), entry) for name, entry in manifest.items()]


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


def _example(filename: str, code: str, entry: dict[str, Any]) -> Example:
    path = PurePath(filename)
    settings = {key: value for key, value in entry.items() if key not in ("description", "payload")}
    return Example(path.stem, filename, LANGUAGES[path.suffix], code, entry["description"], settings, entry["payload"])
