"""Native code that forks booted runtimes, built with the package where there is a C compiler."""

from pathlib import Path

FOLDER = str(Path(__file__).resolve().parent)
NODE_ADDON = f"{FOLDER}/fork.node"
PYTHON_LIBRARY = f"{FOLDER}/fork.so"
NODE_TEMPLATE = f"{FOLDER}/template.js"
