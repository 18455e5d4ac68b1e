"""Makes `zmesh_runtime` importable, which runs import from a folder of their own, but nothing that lies beside it."""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path

import sdk

if "zmesh_runtime" not in sys.modules:
    _spec = PathFinder.find_spec("zmesh_runtime", [str(Path(sdk.__file__).parent / "python")])
    assert _spec is not None
    assert _spec.loader is not None
    sys.modules["zmesh_runtime"] = module_from_spec(_spec)
    _spec.loader.exec_module(sys.modules["zmesh_runtime"])
