"""Where the files of a function are, among those that are deployed with it."""

from __future__ import annotations

from collections.abc import Iterable


def own_folder(entry_file: str, paths: Iterable[str]) -> str:
    """The folder that a run works in, as a prefix of paths: the first of the entry file's, where shared ones stand
    beside it, whose names begin with an underscore; else the top."""
    first, slash, _ = entry_file.partition("/")
    if not slash or first.startswith("_") or not any(path.startswith("_") and "/" in path for path in paths):
        return ""
    return f"{first}/"
