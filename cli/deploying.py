"""Makes a function on the server what a file says it is, and tells what that changed."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from cli.client import Client
from cli.errors import CliError

LANGUAGES = {".js": "javascript", ".cjs": "javascript", ".py": "python", ".ts": "typescript"}
LARGEST_FILE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Deployment:
    """What was done with one function; `diff` is of its code, `changed` the settings that are new."""

    name: str
    slug: str
    action: Literal["created", "updated", "unchanged"]
    version: int
    diff: list[str] = field(default_factory=list)
    changed: dict[str, Any] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def wanted_of(path: Path, name: str | None = None) -> dict[str, Any]:
    """Name, language and code of a file. Raises CliError."""
    language = LANGUAGES.get(path.suffix)
    if language is None:
        raise CliError(
            f"{path}: no language has the ending {path.suffix or '(none)'}.",
            code="unknown_language",
            hint=f"Use one of {', '.join(LANGUAGES)}.",
        )
    try:
        code = path.read_bytes()
    except OSError as error:
        raise CliError(f"{path} cannot be read: {error.strerror}.", code="unreadable_file") from error
    if len(code) > LARGEST_FILE:
        raise CliError(f"{path} has {len(code)} bytes; {LARGEST_FILE} are allowed.", code="too_large")
    try:
        text = code.decode()
    except UnicodeDecodeError as error:
        raise CliError(f"{path} is not UTF-8: {error.reason}.", code="not_text") from error
    return {"name": name or path.stem, "language": language, "code": text}


def deploy(client: Client, wanted: Mapping[str, Any]) -> Deployment:
    """Create or update; what is as wanted already is left alone. Raises CliError."""
    current = next((f for f in client.items("/functions") if f["name"] == wanted["name"]), None)
    if current is None:
        made = client.call("POST", "/functions", dict(wanted)).body
        return Deployment(made["name"], made["slug"], "created", made["version"])
    whole = client.call("GET", f"/functions/{current['id']}").body
    changed = {key: value for key, value in wanted.items() if whole[key] != value}
    if not changed:
        return Deployment(whole["name"], whole["slug"], "unchanged", whole["version"])
    made = client.call("PATCH", f"/functions/{whole['id']}", changed).body
    diff = list(
        difflib.unified_diff(
            whole["code"].splitlines(),
            made["code"].splitlines(),
            f"version {whole['version']}",
            f"version {made['version']}",
            lineterm="",
        )
    )
    settings = {key: value for key, value in changed.items() if key != "code"}
    return Deployment(made["name"], made["slug"], "updated", made["version"], diff, settings)
