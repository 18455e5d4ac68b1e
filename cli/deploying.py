"""Deploys files as functions, and reports what changed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cli.client import ApiError, Client
from cli.connecting import functions_by_name
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


UNLOADABLE = ("syntax_error", "entry_point_missing")


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
            f'{path}: unsupported file extension "{path.suffix}".',
            code="unknown_language",
            hint=did_you_mean(path.suffix, LANGUAGES) or f"Supported extensions: {' '.join(LANGUAGES)}",
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


def files_of(paths: Sequence[Path]) -> list[Path]:
    """The files to deploy. Of a folder, those with a supported extension whose names do not start with a dot or _.

    Raises CliError.
    """
    files: list[Path] = []
    for path in paths:
        if not path.is_dir():
            files.append(path)
            continue
        inside = [file for file in sorted(path.iterdir()) if _is_function(file)]
        if not inside:
            raise CliError(
                f"{path} contains no functions.",
                code="file_not_found",
                hint=f"A function is a file with one of the extensions {' '.join(LANGUAGES)}.",
            )
        files += inside
    return files


def _is_function(file: Path) -> bool:
    return (
        file.is_file()
        and file.suffix in LANGUAGES
        and not file.name.startswith((".", "_"))
        and not file.name.endswith((".d.ts", ".d.mts", ".d.cts"))
    )


def read_functions(files: Sequence[Path], name: str | None = None) -> dict[Path, dict[str, Any]]:
    """Name, language and code of each file. Raises CliError, also where two files are of one function."""
    functions = {file: read_function(file, name) for file in files}
    first: dict[str, Path] = {}
    for file, function in functions.items():
        other = first.setdefault(function["name"], file)
        if other != file:
            raise CliError(
                f'{other} and {file} both define the function "{function["name"]}". Nothing was deployed.',
                code="name_taken",
                hint="Rename one of them, or deploy it alone with --name.",
            )
    return functions


def deploy_functions(
    client: Client, functions: Mapping[Path, Mapping[str, Any]], settings: Mapping[str, Any], *, force: bool
) -> list[Deployment]:
    """Deploy files with these settings. Raises CliError that names files and options."""
    try:
        return deploy(client, [{**function, **settings} for function in functions.values()], force=force)
    except ApiError as error:
        hint = error.hint
        if error.code == "name_taken":
            named = [str(file) for file, function in functions.items() if f'"{function["name"]}"' in error.message]
            hint = f"Rename {' or '.join(named)}, or deploy it alone with --name."
        if error.code in UNLOADABLE:
            hint = "Fix it, or deploy it as it is with --force."
        message = re.sub(r"\bfunctions\.\d+\.([a-z_]+)", lambda field: _option(field[1]), error.message)
        raise ApiError(error.status, message, code=error.code, hint=hint, place=error.place) from error


def _option(field: str) -> str:
    """A field of a function as the command line calls it."""
    others = {"env_vars": "--env", "methods": "--method", "cors_origins": "--cors-origin", "tags": "--tag"}
    plain = {"name": "the name", "code": "the code", "language": "the language"}
    return others.get(field) or plain.get(field) or f"--{field.replace('_', '-')}"


def deploy(client: Client, desired: Sequence[Mapping[str, Any]], *, force: bool = False) -> list[Deployment]:
    """Create or update the functions named in `desired`, all of them or none; variables are added to those set.

    With `force`, also where the code cannot load. Raises CliError.
    """
    existing = functions_by_name(client, [one["name"] for one in desired])
    before = [existing.get(one["name"]) for one in desired]
    changes = [_changes(old, one) for old, one in zip(before, desired, strict=True)]
    sent = [
        {**change, "name": old["name"], "revision": old["revision"]} if old else change
        for old, change in zip(before, changes, strict=True)
        if change
    ]
    path = "/deployments?force=true" if force else "/deployments"
    answer = client.call("POST", path, {"functions": sent}).body["items"] if sent else []
    after = iter([item["function"] for item in answer])
    return [
        Deployment(old, next(after) if change else old or {}, tuple(change) if old else ())
        for old, change in zip(before, changes, strict=True)
    ]


def unchanged_since(function: Mapping[str, Any]) -> dict[str, str]:
    """The header by which a change fails if the function has changed since it was read."""
    return {"If-Match": f'"{function["revision"]}"'}


def change(client: Client, before: Mapping[str, Any], desired: Mapping[str, Any]) -> Deployment:
    """Send what differs from `before`. Raises CliError, also if the function has changed since."""
    changes = _changes(before, desired)
    if not changes:
        return Deployment(before, before)
    after = client.call("PATCH", f"/functions/{before['id']}", changes, headers=unchanged_since(before)).body
    return Deployment(before, after, tuple(changes))


def _changes(before: Mapping[str, Any] | None, desired: Mapping[str, Any]) -> dict[str, Any]:
    """What differs; for a new function everything."""
    target = dict(desired)
    if "env_vars" in target:
        existing = before["env_vars"] if before else {}
        merged = {**existing, **target["env_vars"]}
        target["env_vars"] = {name: value for name, value in merged.items() if value is not None}
    if before is None:
        return target
    target.pop("name", None)
    return {key: value for key, value in target.items() if before[key] != value}
