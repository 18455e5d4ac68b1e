"""Files of functions as HTTP shows them: paths with their content."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, WithJsonSchema

from api.http.json_bodies import NUL_MESSAGE
from api.http.models import Text

_CONTENT = {
    "anyOf": [
        {"type": "string", "description": "Text."},
        {
            "type": "object",
            "properties": {"base64": {"type": "string"}},
            "required": ["base64"],
            "additionalProperties": False,
            "description": "Anything else.",
        },
    ]
}
_FILES = {"type": "object", "additionalProperties": _CONTENT}


def _of_paths_and_contents(files: Any) -> Any:
    """One message for all of them: there may be many."""
    if not isinstance(files, dict):
        raise ValueError("Input should be an object of paths and contents")
    for path, content in files.items():
        if "\x00" in path:
            raise ValueError(f"path {path!r} {NUL_MESSAGE}")
        is_binary = isinstance(content, dict) and content.keys() == {"base64"} and isinstance(content["base64"], str)
        if not isinstance(content, str) and not is_binary:
            raise ValueError(f'the content of "{path}" should be text or {{"base64": "…"}}')
    return files


# Checked as a whole: a model of each file would make an error of each.
FilesToStore = Annotated[
    Any,
    AfterValidator(_of_paths_and_contents),
    WithJsonSchema(
        {
            **_FILES,
            "maxProperties": 1000,
            "description": "Every file of a folder: relative paths with their content, text or base64; at most 8 MiB "
            "together. Replaces all files. The text of the entry file becomes `code`.",
        }
    ),
]
StoredFiles = Annotated[
    Any,
    WithJsonSchema(
        {
            "anyOf": [_FILES, {"type": "null"}],
            "description": "Every file of a folder: paths with their content, UTF-8 text as a string. "
            "null: left out, as in lists and after changes. Empty for a single file without a path.",
        }
    ),
]
EntryFile = Annotated[
    Text | None,
    Field(
        description="Path of the file that is loaded first, such as src/index.ts; null: a single file without a path."
    ),
]
FileSizes = Annotated[
    dict[str, int], Field(description="Size in bytes of every file of a folder, the entry file included.")
]


class FileChange(BaseModel):
    """How a file other than the entry file differs between two versions."""

    action: Literal["added", "removed", "changed"]
    before: int | None = Field(description="Size in bytes; null: the file did not exist.")
    after: int | None = Field(description="Size in bytes; null: the file no longer exists.")
    diff: str | None = Field(description="Unified diff; null if the file is not text, or too large to compare.")
