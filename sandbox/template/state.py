"""What a process has that its forks would share or lack, read from /proc by somebody whom it cannot deceive."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from sandbox.confinement import workspaces

KIB = 1024
RENEWED = ("anon_inode:[eventfd]", "anon_inode:[eventpoll]", "pipe:")  # in each run, by template.c
OF_LIBC = 0b11 << 31  # signals 32 and 33, which libc itself handles once there has been a thread


@dataclass(frozen=True, slots=True)
class State:
    """At one moment. `signals` are the masks of those that it ignores and those that it handles."""

    threads: int
    signals: tuple[int, int]
    descriptors: frozenset[str]
    shared_memory: frozenset[str]  # that forks could write to

    @classmethod
    def of(cls, pid: int) -> State:
        status = _status(pid)
        signals = int(status["SigIgn"], 16), int(status["SigCgt"], 16) & ~OF_LIBC
        return cls(int(status["Threads"]), signals, frozenset(_descriptors(pid)), frozenset(_shared_memory(pid)))


def fault_of_import(before: State, after: State, workspace: str, *, may_keep_files: bool = True) -> str | None:
    """Why forks of a process that has imported packages would not be as if they had imported them; None where they
    are."""
    new = sorted(after.descriptors - before.descriptors)
    if (threads := after.threads - before.threads) != 0:
        return "they started a thread" if threads == 1 else f"they started {threads} threads"
    if after.signals != before.signals:
        return "they changed how signals are handled"
    if any(target.startswith("socket:") for target in new):
        return "they opened sockets"
    if any(not target.startswith(("/", *RENEWED)) for target in new):
        return f"they opened {new[0]}"
    files = [target for target in new if target.startswith("/") and not target.startswith("/dev/")]
    if files and not may_keep_files:  # how far one run has read would be seen by all others
        return f"they left {files[0]} open"
    if after.shared_memory - before.shared_memory:
        return "they created memory that all runs would share"
    if set(os.listdir(workspace)) - set(workspaces.FOLDERS):
        return "they wrote files into the working folder"
    if any(os.listdir(f"{workspace}/{name}") for name in workspaces.FOLDERS):
        return "they wrote temporary files"
    return None


def processes() -> set[int]:
    """Those of our namespace."""
    return {int(name) for name in os.listdir("/proc") if name.isdigit()}


def memory_of(pid: int) -> int:
    """Bytes that a process has in memory, each shared page divided among those who map it."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return sum(int(line.split()[1]) * KIB for line in file if line.startswith("Pss:"))


def own_memory() -> int:
    """Bytes of this process and the one that makes supervisors."""
    return memory_of(os.getpid()) + 1024 * KIB


def data_bytes(pid: int) -> int:
    """What RLIMIT_DATA counts of a process."""
    return int(_status(pid)["VmData"].split()[0]) * KIB


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _shared_memory(pid: int) -> list[str]:
    """Mappings; only of a process that we may look into."""
    with contextlib.suppress(PermissionError), open(f"/proc/{pid}/maps") as file:
        return [line.split()[0] for line in file if line.split()[1].startswith("rw-s")]
    return []


def _descriptors(pid: int) -> list[str]:
    """What each descriptor is of; only of a process that we may look into."""
    found = []
    with contextlib.suppress(PermissionError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(FileNotFoundError):
                found.append(os.readlink(f"/proc/{pid}/fd/{name}"))
    return found
