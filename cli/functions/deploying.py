"""Deploys files and folders as functions, and reports what changed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cli.client import ApiError, Client
from cli.connecting import functions_by_name
from cli.errors import CliError, did_you_mean
from cli.functions.excerpts import located_in
from cli.functions.folders import (
    LANGUAGES,
    MOST_ENTRY_BYTES,
    NEVER_FILES,
    Content,
    is_function,
    read_beside_shared,
    read_folder,
    shown_size,
    size_of,
)

Compare = Callable[[list[str], list[str], Sequence[str]], list[str]]  # lines before and after, and the names of both
UNLOADABLE = ("syntax_error", "import_not_found", "entry_point_missing")


def _unified(old: list[str], new: list[str], names: Sequence[str]) -> list[str]:
    return list(difflib.unified_diff(old, new, names[0], names[1], lineterm=""))


@dataclass(frozen=True, slots=True)
class Deployment:
    """What became of a function: its state before (None when it is new) and after; `files` as they were deployed."""

    before: Mapping[str, Any] | None
    after: Mapping[str, Any]
    changed: tuple[str, ...] = ()
    files: Mapping[str, Content] | None = None

    @property
    def action(self) -> Literal["created", "updated", "unchanged"]:
        if self.before is None:
            return "created"
        return "updated" if self.changed else "unchanged"

    def diff(self, compare: Compare = _unified) -> list[str]:
        """How code and files changed: a line for each file that came or went, unified diffs of the others."""
        return [line for lines in self.diffs(compare).values() for line in lines]

    def diffs(self, compare: Compare = _unified) -> dict[str, list[str]]:
        """The same by path, for those that changed; the path of a single file is empty."""
        before = self.before or {"code": "", "version": 0}
        old = before.get("files") or {"": before["code"]}
        new = self.files or {"": self.after["code"]}
        found: dict[str, list[str]] = {}
        for path in sorted(old.keys() | new.keys()):
            names = [f"version {state['version']}{path and f': {path}'}" for state in (before, self.after)]
            if lines := _file_diff(path, old.get(path), new.get(path), names, compare):
                found[path] = lines
        return found


def _file_diff(
    path: str, old: Content | None, new: Content | None, names: Sequence[str], compare: Compare
) -> list[str]:
    if old == new:
        return []
    if old is None or new is None:
        present = old if new is None else new
        return [f"{'+' if old is None else '-'} {path} ({shown_size(size_of(present or ''))})"] if path else []
    if not isinstance(old, str) or not isinstance(new, str):
        return [f"@ {path} ({shown_size(size_of(old))} → {shown_size(size_of(new))})"]
    return compare(old.splitlines(), new.splitlines(), names) or [f"@ {path} (line endings)"]


def read_function(path: Path, name: str | None = None) -> dict[str, Any]:
    """Name, language, code and files of a file or folder. Raises CliError."""
    if path.is_dir():
        return read_folder(path, name)
    if not path.exists():
        raise _missing(path)
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
        raise _missing(path) from error
    except UnicodeDecodeError as error:
        raise CliError(f"{path} is not UTF-8 text.", code="unreadable_file") from error
    except OSError as error:
        raise CliError(f"{path} cannot be read: {error.strerror}.", code="unreadable_file") from error
    if (size := size_of(code)) > MOST_ENTRY_BYTES:
        raise CliError(
            f"{path} has {shown_size(size)}; the limit for a single file is {shown_size(MOST_ENTRY_BYTES)}.",
            code="too_large",
            hint="Make it a folder, and move code and data into other files.",
        )
    with_shared = read_beside_shared(path, code)
    if with_shared is not None:
        return {"name": name or path.stem, **with_shared}
    return {"name": name or path.stem, "language": language, "code": code, "entry_file": None, "files": {}}


def _missing(path: Path) -> CliError:
    beside = [entry.name for entry in path.parent.glob("*") if entry.is_dir() or entry.suffix in LANGUAGES]
    return CliError(f"{path} does not exist.", code="file_not_found", hint=did_you_mean(path.name, beside))


def sources_of(paths: Sequence[Path]) -> list[Path]:
    """The files and folders to deploy, one for each function. Of a folder of functions, those whose names do not start
    with a dot or _.

    Raises CliError.
    """
    found: list[Path] = []
    for path in paths:
        if not path.is_dir() or is_function(path):
            found.append(path)
            continue
        inside = [entry for entry in sorted(path.iterdir()) if is_function_or_file(entry)]
        if not inside:
            raise CliError(
                f"{path} contains no functions.",
                code="file_not_found",
                hint=f"A function is a file with one of the extensions {' '.join(LANGUAGES)}, "
                "or a folder with index.js, index.ts or main.py.",
            )
        found += inside
    return found


def is_function_or_file(file: Path) -> bool:
    """Whether an entry of a folder of functions is one of them."""
    if file.is_dir():
        return not file.name.startswith((".", "_")) and file.name not in NEVER_FILES and is_function(file)
    return (
        file.is_file()
        and file.suffix in LANGUAGES
        and not file.name.startswith((".", "_"))
        and not file.name.endswith((".d.ts", ".d.mts", ".d.cts"))
    )


def deploy_functions(
    client: Client,
    functions: Mapping[Path, Mapping[str, Any]],
    settings: Mapping[str, Any],
    built: Mapping[str, Mapping[str, Any]],
    *,
    release: Mapping[str, Any] | None = None,
    force: bool,
) -> list[Deployment]:
    """Deploy files and folders with these settings, and with the packages that were built for them, by their names.
    `release` is the message and the first share of the new versions. Raises CliError that names files and options."""
    desired = [{**function, **settings} for function in functions.values()]
    try:
        return deploy(client, desired, built, release=release, force=force)
    except ApiError as error:
        hint = error.hint
        if error.code == "name_taken":
            named = [str(file) for file, function in functions.items() if f'"{function["name"]}"' in error.message]
            hint = f"Rename {' or '.join(named)}, or deploy it alone with --name."
        if error.code in UNLOADABLE:
            hint = "Fix it, or deploy it as it is with --force."
        message = re.sub(r"\bfunctions\.\d+\.([a-z_]+)", lambda field: _option(field[1]), error.message)
        raise ApiError(error.status, message, code=error.code, hint=hint, place=located_in(error, functions)) from error


def _option(field: str) -> str:
    """A field of a function as the command line calls it."""
    others = {"env_vars": "--env", "methods": "--method", "cors_origins": "--cors-origin", "tags": "--tag"}
    plain = {"name": "the name", "code": "the code", "language": "the language", "files": "files"}
    return others.get(field) or plain.get(field) or f"--{field.replace('_', '-')}"


def deploy(
    client: Client,
    desired: Sequence[Mapping[str, Any]],
    built: Mapping[str, Mapping[str, Any]],
    *,
    release: Mapping[str, Any] | None = None,
    force: bool,
) -> list[Deployment]:
    """Create or update the functions named in `desired`, all of them or none; variables are added to those set.

    With `force`, also where the code cannot load. Raises CliError.
    """
    existing = functions_by_name(client, [one["name"] for one in desired])
    before = [existing.get(one["name"]) for one in desired]
    changes = [_changes(old, one) for old, one in zip(before, desired, strict=True)]
    for old, change in zip(before, changes, strict=True):
        if old and old["name"] in built and built[old["name"]]["id"] != old["build_id"]:
            change["build_id"] = built[old["name"]]["id"]
    sent = [
        {**(_sent(old, change, one) if old else change), **(release or {})}
        for old, change, one in zip(before, changes, desired, strict=True)
        if change
    ]
    path = "/deployments?force=true" if force else "/deployments"
    answer = client.call("POST", path, {"functions": sent}).body["items"] if sent else []
    after = iter([item["function"] for item in answer])
    return [
        Deployment(old, next(after) if change else old or {}, tuple(change) if old else (), one.get("files"))
        for old, change, one in zip(before, changes, desired, strict=True)
    ]


def _sent(old: Mapping[str, Any], change: Mapping[str, Any], desired: Mapping[str, Any]) -> dict[str, Any]:
    """A change of a function as the API takes it. It finds out the build by itself, where the language is sent, say."""
    with_files = ("entry_file",) if "files" in change else ()
    with_build = ("language",) if "build_id" in change else ()
    fields = {key: value for key, value in change.items() if key != "build_id"}
    needed = {key: desired[key] for key in (*with_files, *with_build)}
    return {**fields, **needed, "name": old["name"], "revision": old["revision"]}


def unchanged_since(function: Mapping[str, Any]) -> dict[str, str]:
    """The header by which a change fails if the function has changed since it was read."""
    return {"If-Match": f'"{function["revision"]}"'}


def change(client: Client, before: Mapping[str, Any], desired: Mapping[str, Any]) -> Deployment:
    """Send what differs from `before`. Raises CliError, also if the function has changed since."""
    changes = _changes(before, desired)
    if not changes:
        return Deployment(before, before)
    after = client.call("PATCH", f"/functions/{before['id']}", changes, headers=unchanged_since(before)).body
    return Deployment(before, after, tuple(changes), before["files"])


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
