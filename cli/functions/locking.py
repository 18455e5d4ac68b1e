"""Writes the locks that builds resolved into the folders of functions, so that the next deployment repeats them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cli.client import Client
from cli.errors import CliError
from cli.functions.building import built, files_in_own_folder, manifest_of_function
from cli.output import progress
from support.function_folders import own_folder
from support.locks import LOCKS, UV_LOCK
from support.manifests import lock_file

Function = dict[str, Any]


def write_locks(client: Client, functions: Mapping[Path, Function], *, fresh: bool) -> dict[Path, Function]:
    """Lock the packages of each folder that has no lock; with `fresh`, of each folder. The functions with their locks.
    Raises CliError."""
    return {source: _locked(client, source, function, fresh=fresh) for source, function in functions.items()}


def _locked(client: Client, source: Path, function: Function, *, fresh: bool) -> Function:
    if fresh and UV_LOCK in files_in_own_folder(function):
        raise CliError(
            f"{source / UV_LOCK} is a lock that uv writes.",
            code="lock_of_uv",
            hint="Run uv lock --upgrade in its folder, and deploy without --write-lock.",
        )
    own = own_folder(function["entry_file"] or "", function["files"])
    bare = {path: content for path, content in function["files"].items() if path.removeprefix(own) not in LOCKS}
    unlocked = {**function, "files": bare if fresh else function["files"]}
    manifest = manifest_of_function(unlocked)
    if manifest is None or manifest.lock:
        return function
    if not source.is_dir():
        raise CliError(
            f"{source} is a single file, which has no place for a lock.",
            code="no_place_for_a_lock",
            hint=f"Move it into a folder, as {source.stem}/{_entry_of(source)}, or pin the versions in its code.",
        )
    build = built(client, unlocked, manifest, fresh=fresh)
    name, text = lock_file(manifest, files_in_own_folder(unlocked), build["lock"])
    (source / name).write_text(text, "utf-8")
    progress(f"Wrote {source / name}.")
    return {**function, "files": {**bare, own + name: text}}


def _entry_of(file: Path) -> str:
    return "main.py" if file.suffix == ".py" else f"index{file.suffix}"
