"""The packages of a function: its image, a read-only folder into which pip installed them."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

_FALLBACKS = "/.fallbacks"  # a folder of the platform that comes after all packages
MOST_NAMES = 64
# One thread per processor of the host would exhaust a run's memory, and a run has only a few processors.
_ONE_THREAD = """
    BLIS_NUM_THREADS GOTO_NUM_THREADS MKL_NUM_THREADS NUMEXPR_NUM_THREADS OMP_NUM_THREADS OPENBLAS_NUM_THREADS
    POLARS_MAX_THREADS RAYON_NUM_THREADS VECLIB_MAXIMUM_THREADS
"""
_folder = ""  # of the image, with a slash
_outermost: _Outermost | None = None


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


class _Outermost:
    """A finder that notes which modules of an image are imported from outside of it: these import the others.

    The name of a package is not enough, since importing scipy does not import scipy.stats.
    """

    def __init__(self, folder: str) -> None:
        self.names: dict[str, None] = {}
        self._folder = folder
        self._current: ModuleSpec | None = None

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if getattr(self._current, "_initializing", False):  # set by importlib while a module is executed
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or not (spec.origin or "").startswith(self._folder):
            return None
        self.names[name], self._current = None, spec
        return spec


def learn(image: str) -> None:
    """From now on, note which modules of this image are imported from outside of it."""
    global _outermost
    _outermost = _Outermost(f"{image}/python/")
    sys.meta_path.insert(sys.meta_path.index(PathFinder), _outermost)


def learned() -> list[str]:
    """The modules whose import brings in all that was imported. A module's name stands for the packages above it."""
    names = [name for name in _outermost.names if name in sys.modules] if _outermost else []
    return [name for name in names if not any(other.startswith(f"{name}.") for other in names)][:MOST_NAMES]


def _origin_of(module: object) -> str:
    origin = getattr(getattr(module, "__spec__", None), "origin", None)
    return origin if isinstance(origin, str) else ""
