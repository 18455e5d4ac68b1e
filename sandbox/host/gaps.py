"""What isolation lacks on this machine, in sentences for its administrator."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from sandbox.confinement import kernel
from sandbox.confinement.landlock import PORTS_SINCE
from sandbox.protocol.orders import Mode

SCOPES_SINCE = 6  # the Landlock ABI that confines signals and abstract sockets


def gaps_of(mode: Mode, why: Sequence[str], *, own_users: bool) -> list[str]:
    """One sentence each; `why` has the reasons why better modes failed."""
    landlock = kernel.landlock_version()
    gaps = []
    if mode == "process":
        gaps.append("no namespaces" + "".join(f": {reason}" for reason in why))
        gaps.append("the total size of a workspace is unlimited; only single files are limited")
        if not own_users:
            gaps.append("runs share the platform's user: they can change modes and times of its files")
    if landlock == 0:
        gaps.append("no Landlock: functions can read every world-readable file")
    elif landlock < SCOPES_SINCE and mode == "process" and not own_users:
        gaps.append(f"Landlock {landlock} is older than {SCOPES_SINCE}: runs can signal the platform's processes")
    if landlock < PORTS_SINCE:
        since = f"Landlock {landlock} is older than {PORTS_SINCE}" if landlock else "no Landlock"
        gaps.append(f"{since}: runs can listen on the port of a server that is down, such as PostgreSQL's")
    if kernel.MACHINE not in ("x86_64", "aarch64"):
        gaps.append(f"no seccomp filter for {kernel.MACHINE}")
    return gaps


def limits_not_exact() -> list[str]:
    """Gaps in what the supervisor can count on this machine."""
    try:
        os.close(kernel.count_cpu_time())
    except OSError as error:
        return [
            f"CPU time of children that are not waited for is not counted ({error.strerror}): allow perf_event_open by "
            "sysctl kernel.perf_event_paranoid=2 or CAP_PERFMON"
        ]
    return []


def closed_to_runs(mode: Mode, folders: Sequence[str]) -> list[str]:
    """The folders that the separate users of runs cannot enter; where runs have a root, folders above do not count."""
    if mode == "process":
        return sorted({path for path in folders if not others_may_enter(path)})
    return sorted({path for path in folders if not os.stat(path).st_mode & stat.S_IXOTH})


def others_may_enter(path: str) -> bool:
    """Whether any user can reach a path, judging by the modes of the folders above it."""
    real = Path(os.path.realpath(path))
    above = [*real.parents, real] if real.is_dir() else list(real.parents)
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in above if folder.exists())
