"""Makes a function of the platform what a file says it is, and tells what that changes."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cli.client import Client
from cli.connecting import look_up_function
from cli.errors import CliError, did_you_mean

LANGUAGES = {
    ".js": "javascript",
    ".cjs": "javascript",
    ".mjs": "javascript",
    ".py": "python",
    ".ts": "typescript",
    ".mts": "typescript",
    ".cts": "typescript",
}


@dataclass(frozen=True, slots=True)
class Deployment:
    """What became of a function: its state before (None when it is new) and after."""

    before: Mapping[str, Any] | None
    after: Mapping[str, Any]
    changed: tuple[str, ...] = ()

    @property
    def action(self) -> Literal["created", "updated", "unchanged"]:
        if self.before is None:
            return "created"
        return "updated" if self.changed else "unchanged"

    def diff(self) -> list[str]:
        """How the code changed, as a unified diff."""
        before, after = self.before or {"code": "", "version": 0}, self.after
        return list(
            difflib.unified_diff(
                before["code"].splitlines(),
                after["code"].splitlines(),
                f"version {before['version']}",
                f"version {after['version']}",
                lineterm="",
            )
        )


def read_function(path: Path, name: str | None = None) -> dict[str, Any]:
    """Name, language and code of a file. Raises CliError."""
    language = LANGUAGES.get(path.suffix)
    if language is None:
        raise CliError(
            f'{path}: the ending "{path.suffix}" belongs to no language.',
            code="unknown_language",
            hint=did_you_mean(path.suffix, LANGUAGES) or f"Known endings: {' '.join(LANGUAGES)}",
        )
    try:
        code = path.read_text("utf-8")
    except FileNotFoundError as error:
        beside = [file.name for file in path.parent.glob("*") if file.suffix in LANGUAGES]
        raise CliError(
            f"{path} does not exist.", code="file_not_found", hint=did_you_mean(path.name, beside)
        ) from error
    except UnicodeDecodeError as error:
        raise CliError(f"{path} is not UTF-8 text.", code="unreadable_file") from error
    except OSError as error:
        raise CliError(f"{path} cannot be read: {error.strerror}.", code="unreadable_file") from error
    return {"name": name or path.stem, "language": language, "code": code}


def deploy(client: Client, wanted: Mapping[str, Any]) -> Deployment:
    """Create or update the function named in `wanted`; only what differs is sent, variables are added to those set.

    Raises CliError.
    """
    before = look_up_function(client, wanted["name"])
    if before is None:
        return Deployment(None, client.call("POST", "/functions", dict(wanted)).body)
    return change(client, before, {key: value for key, value in wanted.items() if key != "name"})


def change(client: Client, before: Mapping[str, Any], wanted: Mapping[str, Any]) -> Deployment:
    """Send what differs from `before`, unless somebody else has changed the function since. Raises CliError."""
    target = dict(wanted)
    if "env_vars" in target:
        target["env_vars"] = {**before["env_vars"], **target["env_vars"]}
    changes = {key: value for key, value in target.items() if before[key] != value}
    if not changes:
        return Deployment(before, before)
    unchanged_since = {"If-Match": f'"{before["revision"]}"'}
    after = client.call("PATCH", f"/functions/{before['id']}", changes, headers=unchanged_since).body
    return Deployment(before, after, tuple(changes))
