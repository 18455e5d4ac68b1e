"""Files of functions: from what a request sends to what is stored. Their paths are checked by the database."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import msgspec

from api.http.json_bodies import NUL_MESSAGE, PARSING, SMALL
from api.http.problems import Problem, invalid
from api.management.models.functions import LARGEST_CODE

NO_FILES = msgspec.Raw(b"{}")


async def stored(fields: Mapping[str, Any], entry_file: str | None = None) -> dict[str, Any]:
    """Fields of a function with `files` as JSON text, and the text of the entry file as `code`.

    `entry_file` is the one of the function as it is now. Raises Problem 422.
    """
    entry_file = fields.get("entry_file", entry_file)
    files: dict[str, Any] | None = fields.get("files")
    if entry_file is None:
        if files:
            raise invalid("entry_file", "is required with files", "Name the file that is loaded first: src/index.ts.")
        return {**fields, "files": NO_FILES} if "entry_file" in fields else dict(fields)
    if files is None:
        return dict(fields)
    large = sum(len(path) + len(content) for path, content in files.items()) > SMALL or any(
        isinstance(content, dict) for content in files.values()
    )
    code, others = await PARSING.run(_stored, files, entry_file) if large else _stored(files, entry_file)
    if code is None:
        return {**fields, "files": others}
    if fields.get("code") not in (None, code):
        raise invalid("code", f'differs from the entry file "{entry_file}" in files', "Send only one of them.")
    return {**fields, "files": others, "code": code}


def _stored(files: Mapping[str, Any], entry_file: str) -> tuple[str | None, msgspec.Raw]:
    """The text of the entry file, if it is there, and the others."""
    contents = {path: _content(path, content) for path, content in files.items()}
    code = contents.pop(entry_file, None)
    if isinstance(code, dict):
        raise _refused(entry_file, "is the entry file, but not UTF-8 text")
    if code is not None and len(code.encode()) > LARGEST_CODE:
        raise _refused(entry_file, "is larger than 1 MiB, which is the limit of an entry file", "Split it.")
    return code, msgspec.Raw(msgspec.json.encode(contents))


def _content(path: str, content: Any) -> str | dict[str, str]:
    """Whatever is UTF-8 text as a string, so that versions can be compared; everything else in base64."""
    if isinstance(content, str):
        if "\x00" in content:
            raise _refused(path, NUL_MESSAGE, 'Send it as {"base64": "…"}.')
        return content
    try:
        return content_of(base64.b64decode(content["base64"], validate=True))
    except (binascii.Error, ValueError) as error:
        raise _refused(path, "is not valid base64", "Encode it with padding and without line breaks.") from error


def content_of(data: bytes) -> str | dict[str, str]:
    """The bytes of a file as JSON has them."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = "\x00"
    return {"base64": base64.b64encode(data).decode()} if "\x00" in text else text


def _refused(path: str, message: str, hint: str = "") -> Problem:
    return invalid("files", f'"{path}" {message}', hint)
