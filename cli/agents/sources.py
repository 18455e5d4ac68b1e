"""Code as tools take it: the files to change, on top of what a function has."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import Field

from cli.errors import CliError
from cli.functions.deploying import Compare, Deployment
from cli.functions.folders import LANGUAGES

Function = Mapping[str, Any]
CODE = ("language", "code", "files", "entry_file", "entry_point")
NOTHING: Function = {"version": 0, "code": "", "files": {}, "entry_file": None}

Language = Annotated[
    Literal["", "javascript", "python", "typescript"],
    Field(description="Needed for a new function that is a single file; empty otherwise."),
]
Code = Annotated[
    str, Field(description="The whole code of a function of one file, or of the entry file of a folder; empty: as is.")
]
Files = Annotated[
    dict[str, str | None] | None,
    Field(description="Whole text of files to write, by path; null deletes a file. Other files stay."),
]
EntryFile = Annotated[
    str, Field(max_length=255, description="Path of the file that is loaded first, with files; empty: as is.")
]
EntryPoint = Annotated[
    str, Field(max_length=100, description="Name of the function in the code to call; empty: as is, or handler.")
]


def wanted(
    name: str, existing: Function | None, code: str, files: Mapping[str, str | None] | None, **given: str
) -> dict[str, Any]:
    """The code that a function would have, as the API takes it. Raises CliError."""
    now = existing or NOTHING
    entry = given["entry_file"] or now["entry_file"]
    language = given["language"] or _language_of(entry) or now.get("language")
    if not language:
        raise CliError(f'"{name}" is new and needs a language.', code="unknown_language", hint="Pass language.")
    found = {"language": language, "entry_point": given["entry_point"] or now.get("entry_point", "handler")}
    if not entry and not files:
        return {**found, "code": code or now["code"], "files": {}, "entry_file": None}
    if not entry:
        raise CliError("entry_file is needed with files.", code="no_entry_file", hint="Name the file to load first.")
    contents: dict[str, Any] = {**({} if now["entry_file"] else {entry: now["code"]}), **now["files"], **(files or {})}
    contents = {path: text for path, text in contents.items() if text is not None}
    if code:
        contents[entry] = code
    if not contents.get(entry):
        raise CliError(f'There is no "{entry}", the entry file.', code="no_entry_file", hint="Pass its text in files.")
    return {**found, "code": contents[entry], "files": contents, "entry_file": entry}


def _language_of(entry: str | None) -> str | None:
    return LANGUAGES.get(PurePosixPath(entry or "").suffix)


def difference(existing: Function | None, code: Function) -> list[str]:
    """Unified diffs, and a line for each file that comes or goes."""
    now = existing or NOTHING
    return Deployment(now, {**code, "version": "new"}, files=code["files"]).diff(_bounded_comparison())


def _bounded_comparison() -> Compare:
    """For the process that serves agents: some files would take hours to compare."""
    from api.management.comparing import MOST_LINES, SECONDS, unified_diff

    until, left = time.monotonic() + SECONDS, MOST_LINES

    def compare(old: list[str], new: list[str], names: Sequence[str]) -> list[str]:
        nonlocal left
        left -= len(old) + len(new)
        if left < 0:
            return [f"@ {names[1]}: too many lines to compare ({len(old)} → {len(new)})"]
        return unified_diff(old, new, (names[0], names[1]), until).splitlines()

    return compare
