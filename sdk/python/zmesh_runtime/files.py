"""The files of a function that is a folder, written into the working directory before its code is loaded."""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

from zmesh_runtime.failures import Failure, limit_hit

INVALID_PARTS = ("", ".", "..")


def parsed(files: bytes) -> dict[str, Any]:
    """Parse the files of a job. Raises Failure."""
    try:
        found = json.loads(files)
    except (ValueError, RecursionError) as error:
        raise Failure("invalid_files", f"the function's files are not JSON: {error}") from None
    if not isinstance(found, dict):
        raise Failure("invalid_files", f"the function's files are not a JSON object (got {type(found).__name__})")
    return found


def write(files: Mapping[str, Any]) -> None:
    """Write each of them: path → text or {"base64": …}. Raises Failure."""
    folders: set[str] = set()
    for path, content in files.items():
        data = _bytes_of(path, content)
        _check(path)
        try:
            folder = os.path.dirname(path)
            if folder and folder not in folders:
                os.makedirs(folder, exist_ok=True)
                folders.add(folder)
            _write(path, data)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            kind = (isinstance(error, OSError) and limit_hit(error)) or "invalid_files"
            raise Failure(kind, f"the function's file {_shown(path)} cannot be written: {why}") from None


def remove(paths: Iterable[str]) -> None:
    """Remove files that were written, and folders that are empty then."""
    for path in paths:
        with contextlib.suppress(OSError):
            os.unlink(path)
            os.removedirs(os.path.dirname(path) or ".")


def _check(path: str) -> None:
    if any(part in INVALID_PARTS for part in path.split("/")) or "\0" in path:
        raise Failure("invalid_files", f"{_shown(path)} is not the path of a file inside the function's folder")


def _bytes_of(path: str, content: Any) -> bytes:
    try:
        if isinstance(content, str):
            return content.encode()
        if isinstance(content, dict) and isinstance(content.get("base64"), str):
            return base64.b64decode("".join(content["base64"].split()), validate=True)  # PostgreSQL wraps base64
    except (UnicodeEncodeError, binascii.Error) as error:
        raise Failure("invalid_files", f"the content of the file {_shown(path)} cannot be decoded: {error}") from None
    raise Failure("invalid_files", f'the content of the file {_shown(path)} is neither text nor {{"base64": …}}')


def _write(path: str, data: bytes) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(file, view) :]
    finally:
        os.close(file)


def _shown(path: str) -> str:
    return ascii(path) if len(path) <= 200 else f"{path[:200]!a}…"
