"""Native code that forks booted runtimes and supervises runs, built with the package where there is a C compiler."""

import os
from pathlib import Path

FOLDER = str(Path(__file__).resolve().parent)
NODE_ADDON = f"{FOLDER}/fork.node"
PYTHON_LIBRARY = f"{FOLDER}/fork.so"
SUPERVISOR = f"{FOLDER}/supervisor"
NODE_TEMPLATE = f"{FOLDER}/template.js"


def is_built() -> bool:
    """Whether all of it is there."""
    return all(os.access(path, os.X_OK) for path in (NODE_ADDON, PYTHON_LIBRARY, SUPERVISOR))
