"""Builds of the sandbox's native code for tests: with sanitizers, or with every warning an error."""

from __future__ import annotations

import functools
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

import hatch_build

REPOSITORY = Path(__file__).resolve().parents[2]
SANDBOX = REPOSITORY / "sandbox"
SANITIZERS = ["-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
INSTALL = "install one that has sanitizers: apt-get install gcc libc6-dev, or clang"


def compilers() -> list[str]:
    return [name for name in ("gcc", "clang") if shutil.which(name)]


@functools.cache
def sanitizing_compiler() -> list[str] | None:
    """One that makes programs with sanitizers that need nothing of the machine where they run."""
    for name, static in (("gcc", ["-static-libasan", "-static-libubsan"]), ("clang", ["-static-libsan"])):
        with tempfile.TemporaryDirectory() as folder:
            command = [name, *SANITIZERS, *static, "-x", "c", "-", "-o", f"{folder}/program"]
            if (
                shutil.which(name)
                and not subprocess.run(command, input=b"int main(void) { return 0; }", capture_output=True).returncode
            ):
                return [name, *SANITIZERS, *static]
    return None


def compile_supervisor(compiler: list[str], output: Path) -> None:
    subprocess.run(hatch_build.compile_command(compiler, "supervisor", output), cwd=SANDBOX, check=True)


def compile_program(compiler: list[str], sources: Iterable[str | Path], output: Path) -> None:
    """Sources are below the folder sandbox/, or named whole."""
    command = [*compiler, "-std=gnu11", *hatch_build.INCLUDES, *map(str, sources), "-o", str(output)]
    subprocess.run(command, cwd=SANDBOX, check=True)
