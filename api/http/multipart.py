"""Uploads as multipart/form-data: a part of JSON, and a part for each file, named by its path."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser

from api.http.problems import Problem

JSON_PART = "function"
MOST_PARTS = 1_100  # a little more than there may be files, whose limit has a better message


def read_upload(body: bytes, boundary: str, read_json: Callable[[bytes], Any]) -> Any:
    """The members of the JSON part, and as `files` the content of the others. Raises Problem."""
    fields: Any = {}
    files: dict[str, dict[str, str]] = {}
    for part, content in _parts(body, boundary):
        if part.name == JSON_PART and not part.filename:
            fields = read_json(content)
        elif part.name in files:
            raise _malformed(f'The upload has two files with the path "{part.name}".')
        else:
            files[part.name] = {"base64": base64.b64encode(content).decode()}
    if not isinstance(fields, dict):
        raise _malformed(f'The part "{JSON_PART}" of the upload is not a JSON object.')
    return {**fields, "files": files} if files else fields


def _parts(body: bytes, boundary: str) -> list[tuple[MultipartSegment, bytes]]:
    found: list[tuple[MultipartSegment, bytes]] = []
    pieces: list[bytes] = []
    try:
        with PushMultipartParser(boundary, max_segment_count=MOST_PARTS) as parser:
            for event in parser.parse(body):
                if isinstance(event, MultipartSegment):
                    segment, pieces = event, []
                elif event:
                    pieces.append(bytes(event))
                else:
                    found.append((segment, b"".join(pieces)))
    except ParserLimitReached as error:
        raise Problem(
            413, "payload_too_large", f"The upload has more than {MOST_PARTS} parts, or a part with long headers."
        ) from error
    except (MultipartError, UnicodeError) as error:
        raise _malformed(f"The body is not multipart/form-data: {error}.") from error
    return found


def _malformed(detail: str) -> Problem:
    return Problem(
        400,
        "malformed_upload",
        detail,
        f'Send a part "{JSON_PART}" with JSON, and a part for each file whose name is the path of the file.',
    )
