"""Processes that a function starts by multiprocessing and that are not forks of it (spawn, forkserver): they import its
module: from its folder, or from a file that is written when the first of them starts."""

from __future__ import annotations

import tempfile
from multiprocessing import spawn
from pathlib import Path
from typing import Any

from zmesh_runtime import loading

_folder: str | None = None


def prepare() -> None:
    """Have every such process find the function's module."""
    describe = spawn.get_preparation_data

    def get_preparation_data(name: str) -> dict[str, Any]:
        data = describe(name)
        for key in ("init_main_from_name", "init_main_from_path"):
            data.pop(key, None)  # the module is imported by its own name, never as __main__
        if loading.module_name() == loading.MODULE_NAME:
            data["sys_path"] = [_folder_of_module(), *data["sys_path"]]
        return data

    spawn.get_preparation_data = get_preparation_data


def _folder_of_module() -> str:
    global _folder
    if _folder is None:
        folder = tempfile.mkdtemp(prefix="zmesh-")
        (Path(folder) / f"{loading.MODULE_NAME}.py").write_text(loading.source(), "utf-8", newline="")
        _folder = folder
    return _folder
