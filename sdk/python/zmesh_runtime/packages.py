"""The packages of a function: its image, a read-only folder into which pip installed them."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection

_FALLBACKS = "/.fallbacks"  # a folder of the platform that comes after all packages
MOST_NAMES = 64
# One thread per processor of the host would exhaust a run's memory, and a run has only a few processors.
_ONE_THREAD = """
    BLIS_NUM_THREADS GOTO_NUM_THREADS MKL_NUM_THREADS NUMEXPR_NUM_THREADS OMP_NUM_THREADS OPENBLAS_NUM_THREADS
    POLARS_MAX_THREADS RAYON_NUM_THREADS VECLIB_MAXIMUM_THREADS
"""
_folder = ""  # of the image, with a slash


def use(image: str | None) -> None:
    """Add this image to the import path, after the standard library and the platform's packages."""
    if image is None:
        return
    for name in _ONE_THREAD.split():
        os.environ.setdefault(name, "1")
    global _folder
    folder = f"{image}/python"
    _folder = f"{folder}/"
    if folder in sys.path:
        return
    end = len(sys.path)
    while end > 0 and sys.path[end - 1].endswith(_FALLBACKS):
        end -= 1
    sys.path.insert(end, folder)


def has_imported(name: str) -> bool:
    """Whether a module of this name is loaded from an image."""
    return _origin_of(sys.modules.get(name)).startswith(_folder) if _folder else False


def imported(image: str) -> list[str]:
    """The imported modules of the image: for each package, the topmost one that has code."""
    folder = f"{image}/python/"
    found: dict[str, None] = {}
    for name, module in list(sys.modules.items()):
        if isinstance(name, str) and _origin_of(module).startswith(folder):
            found[name] = None
    return [name for name in found if not _is_below(name, found)][:MOST_NAMES]


def _origin_of(module: object) -> str:
    origin = getattr(getattr(module, "__spec__", None), "origin", None)
    return origin if isinstance(origin, str) else ""


def _is_below(name: str, others: Collection[str]) -> bool:
    parts = name.split(".")
    return any(".".join(parts[:length]) in others for length in range(1, len(parts)))
