"""Commands with limits on CPU time, memory and files, in an empty environment: for reading what somebody sends."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

MEMORY_BYTES = 1024 * 1024 * 1024
ENVIRONMENT = {"LANG": "C.UTF-8"}
_PROGRAM = str(Path(__file__).with_name("bounded_command.py"))
# In addition to interpreters: the places of shared libraries, and what these open when they start.
_OF_THE_HOST = ("/usr", "/lib", "/lib64", "/nix/store", "/etc/ld.so.cache", "/dev/null", "/dev/urandom", "/proc/self")


def bounded(
    command: Sequence[str], memory_bytes: int = MEMORY_BYTES, data_bytes: int = 0, readable: Sequence[str] = ()
) -> list[str]:
    """The command with these limits; 0 bytes: no limit. With `readable`, it can read only these paths and
    interpreters, and reaches no server and no other process."""
    paths = [*readable, sys.base_prefix, sys.prefix, *_OF_THE_HOST] if readable else []
    given = [str(memory_bytes), str(data_bytes), str(len(paths)), *paths]
    return [sys.executable, "-I", "-S", _PROGRAM, *given, *command]


def output_of(command: Sequence[str], given: bytes, seconds: float) -> bytes | None:
    """What the command prints, within its limits; None if it did not finish. For threads that may wait."""
    try:
        ended = subprocess.run(
            bounded(command),
            input=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=ENVIRONMENT,
            cwd="/",
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None
    return ended.stdout if ended.returncode == 0 else None
