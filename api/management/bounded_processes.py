"""Commands with limits on CPU time, memory and files, in an empty environment: for reading what somebody sends."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

CPU_SECONDS = 5
MEMORY_BYTES = 1024 * 1024 * 1024
ENVIRONMENT = {"LANG": "C.UTF-8"}
# Limits first, then the command: so nothing of this process's own is inherited but an empty environment.
_BOUNDED = (
    "import os, resource as r, sys\n"
    f"r.setrlimit(r.RLIMIT_CPU, ({CPU_SECONDS}, {CPU_SECONDS})); r.setrlimit(r.RLIMIT_CORE, (0, 0))\n"
    "r.setrlimit(r.RLIMIT_FSIZE, (0, 0)); r.setrlimit(r.RLIMIT_NOFILE, (64, 64))\n"
    "limit = int(sys.argv[1])\n"
    "with open('/proc/self/oom_score_adj', 'w') as file: file.write('1000')\n"  # rather than the API
    "limit and r.setrlimit(r.RLIMIT_AS, (limit, limit))\n"
    "os.execv(sys.argv[2], sys.argv[2:])\n"
)


def bounded(command: Sequence[str], memory_bytes: int = MEMORY_BYTES) -> list[str]:
    """The command with these limits; 0 bytes: no limit."""
    return [sys.executable, "-I", "-S", "-c", _BOUNDED, str(memory_bytes), *command]


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
