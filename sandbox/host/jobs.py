"""The job of a run as it is sent, and the part of it that a template executes beforehand."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from sandbox.model import RunRequest
from sandbox.protocol import frames


def job_of(request: RunRequest, image: str | None, *, learn: bool, is_loaded: bool) -> bytes:
    """The frame that begins a run: it finds its packages at `image`, with `learn` says which of them it imports, and
    has its code loaded already if it `is_loaded`."""
    header = {
        **_code_of(request),
        "style": request.style,
        "env": dict(request.env),
        "context": dict(request.context),
        "limits": request.limits.for_job(background=request.background),
        "network": request.network,
        "image": image,
        "learn": learn,
        "is_loaded": is_loaded,
    }
    return frames.encode(frames.JOB, _json(header))


def code_for_template(request: RunRequest) -> bytes:
    """The frames of a job without all that belongs to one invocation: of the environment only the names."""
    header = {**_code_of(request), "variables": sorted(request.env)}
    files = b"" if request.files is None else frames.encode(frames.FILES, request.files)
    return frames.encode(frames.JOB, _json(header)) + files


def _code_of(request: RunRequest) -> dict[str, Any]:
    return {
        "code": request.code,
        "entry_point": request.entry_point,
        "filename": request.entry_file or request.filename,
        "entry_file": request.entry_file,
        "has_files": request.files is not None,
        "language": request.language,
        "compiled": None if request.compiled is None else msgspec.Raw(request.compiled),
    }


def _json(header: dict[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(header)
    except UnicodeEncodeError:  # half of a surrogate pair
        return json.dumps(header, default=lambda raw: json.loads(bytes(raw))).encode()
