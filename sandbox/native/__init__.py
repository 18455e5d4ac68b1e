"""The one folder of the sandbox that runs can read: the script that templates of Node.js start with, and native code.

That is built with the package where there is a C compiler.
"""

import os
from pathlib import Path

FOLDER = str(Path(__file__).resolve().parent)
NODE_ADDON = f"{FOLDER}/fork.node"
PYTHON_LIBRARY = f"{FOLDER}/fork.so"
SUPERVISOR = f"{FOLDER}/supervisor"
NODE_TEMPLATE = f"{FOLDER}/node_template.js"


def is_built() -> bool:
    """Whether all of it is there."""
    return all(os.access(path, os.X_OK) for path in (NODE_ADDON, PYTHON_LIBRARY, SUPERVISOR))
