"""Modules among the function's own files: compiled under their paths in its folder, which is what tracebacks show."""

from __future__ import annotations

import os
import sys
import types
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
    SourcelessFileLoader,
)
from typing import Any

_root = ""
_shown_from: str | None = ""
_compiled: set[str] = set()


class _OwnLoader(SourceFileLoader):
    def source_to_code(  # type: ignore[override]
        self, data: Any, path: Any, *others: Any, **options: Any
    ) -> types.CodeType:
        shown = path if _shown_from is None else os.path.relpath(path, _shown_from)
        _compiled.add(shown)
        return super().source_to_code(data, shown, *others, **options)


def install(root: str, *, shown_from: str | None) -> None:
    """Load modules below this folder so; without `shown_from`, under their full paths."""
    global _root, _shown_from
    _root, _shown_from = root, shown_from
    sys.path_hooks.insert(0, _find_below_root)
    for folder in [one for one in sys.path_importer_cache if _is_own(one)]:
        del sys.path_importer_cache[folder]


def has_compiled(filename: str) -> bool:
    """Whether code of this file name is one of them."""
    return filename in _compiled


def _find_below_root(folder: str) -> FileFinder:
    if not _is_own(folder):
        raise ImportError
    return FileFinder(
        folder,
        (ExtensionFileLoader, EXTENSION_SUFFIXES),
        (_OwnLoader, SOURCE_SUFFIXES),
        (SourcelessFileLoader, BYTECODE_SUFFIXES),
    )


def _is_own(folder: str) -> bool:
    return folder == _root or folder.startswith(f"{_root}/")
