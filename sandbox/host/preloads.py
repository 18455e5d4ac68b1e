"""Which packages of an image a template imports: those that it declares, else those that its first run has imported.

What a run says is a claim of hostile code: only names that are in the image are taken, and not many.
"""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import msgspec

from sandbox.host.template_keys import TemplateKey
from sandbox.model import Image

MOST_NAMES = 64
REMEMBERED = 1000
_PYTHON = re.compile(r"[A-Za-z_]\w{0,99}(\.[A-Za-z_]\w{0,99}){0,9}")
_NODE = re.compile(r"(?:(?:require|import):)?((?:@[\w.~-]{1,100}/)?[\w~-][\w.~-]{0,100})(?:/[\w.~/-]{1,200})?")


class Preloads:
    """What was learned, for the functions and images used last."""

    def __init__(self) -> None:
        self._learned: OrderedDict[tuple[TemplateKey, str], tuple[str, ...]] = OrderedDict()

    def of(self, key: TemplateKey, image: Image) -> tuple[str, ...]:
        """What to import; nothing where that is not known yet. The key has no preload yet."""
        if image.preload.names:
            return names_in_image(image.preload.names, key.runtime, image.path)
        return self._learned.get((key, image.preload.learned_by), ())

    def learn(self, key: TemplateKey, image: Image, imported: Sequence[str]) -> None:
        """Remember what a run has imported, as `imported_by` has it."""
        if imported:
            one = key, image.preload.learned_by
            self._learned[one] = tuple(imported)
            self._learned.move_to_end(one)
        while len(self._learned) > REMEMBERED:
            self._learned.popitem(last=False)


def imported_by(frame: bytes, runtime: str, image: Path) -> tuple[str, ...]:
    """The packages of the image that a run says it has imported, in the order of their names: those of functions that
    import the same are the same."""
    try:
        names = msgspec.json.decode(frame, type=list[str])
    except (msgspec.DecodeError, UnicodeError):
        return ()
    return tuple(sorted(names_in_image(names, runtime, image)))


def names_in_image(names: Sequence[str], runtime: str, image: Path) -> tuple[str, ...]:
    """Those of these names that can be imported from an image of this runtime, each once."""
    there = _is_python if runtime == "python" else _is_node
    return tuple(dict.fromkeys(name for name in names[:MOST_NAMES] if there(name, image)))


def _is_python(name: str, image: Path) -> bool:
    if not _PYTHON.fullmatch(name):
        return False
    top = name.partition(".")[0]
    folder = image / "python"
    return (folder / top).is_dir() or (folder / f"{top}.py").is_file() or any(folder.glob(f"{top}.*so"))


def _is_node(name: str, image: Path) -> bool:
    found = _NODE.fullmatch(name)
    return found is not None and ".." not in name and os.path.isdir(image / "node_modules" / found[1])
