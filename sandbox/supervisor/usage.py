"""What the processes of a run use together, read from /proc by the supervisor, which sees only them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_MAPPED_PER_TABLE_BYTE = 512  # a table of one page maps 512 pages
_SMALL_TABLES = 8 << 20


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds used, including children that ended, and bytes held at this moment."""

    cpu_seconds: float
    memory_bytes: int


def children_of(parent: int) -> list[int]:
    """The living children of a process, zombies included."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{parent}/task"):  # a child belongs to the thread that created it
            with open(f"/proc/{parent}/task/{thread}/children") as file:
                found += [int(pid) for pid in file.read().split()]
    return found


def descendants_of(ancestor: int) -> list[int]:
    """Children, their children, and so on."""
    found: list[int] = []
    waiting = children_of(ancestor)
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += children_of(pid)
    return found


def is_alive(pid: int) -> bool:
    """Whether a process still runs; one that waits to be reaped does not."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", "rb") as file:
        return file.read().rpartition(b") ")[2][:1] not in b"ZX"
    return False


def tasks_of(uid: int) -> int:
    """How many processes and threads a user has now."""
    count = 0
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if name.isdigit() and os.stat(f"/proc/{name}").st_uid == uid:
                count += len(os.listdir(f"/proc/{name}/task"))
    return count


def measure(pids: Iterable[int]) -> Usage:
    """Sum over processes; a page mapped by several counts once for each, so this is never too low."""
    cpu, memory = 0.0, 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                fields = file.read().rpartition(b") ")[2].split()
        except OSError:
            continue
        cpu += sum(int(field) for field in fields[11:15]) / _TICKS
        memory += int(fields[21]) * _PAGE + _page_tables(pid)
    return Usage(cpu, memory)


def count_locks(pids: Collection[int], enough: int) -> int:
    """How many file locks these processes hold or wait for, counted up to `enough`."""
    count = 0
    owners = {str(pid) for pid in pids}
    with open("/proc/locks") as file:
        for line in file:
            count += not owners.isdisjoint(line.split()[:7])
            if count >= enough:
                break
    return count


def _page_tables(pid: int) -> int:
    """Memory that the kernel holds for a process's page tables; counted only where it can be large."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/statm", "rb") as file:
        if int(file.read().split()[0]) * _PAGE // _MAPPED_PER_TABLE_BYTE < _SMALL_TABLES:
            return 0
    with contextlib.suppress(OSError), open(f"/proc/{pid}/status", "rb") as file:
        for line in file:
            if line.startswith(b"VmPTE:"):
                return int(line.split()[1]) * 1024
    return 0


def exact_memory(pids: Iterable[int]) -> int:
    """The same in bytes, with each shared page divided among the processes that map it; slower."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
                for line in file:
                    if line.startswith((b"Pss_Anon:", b"Pss_Shmem:")):
                        total += int(line.split()[1]) * 1024
            total += _page_tables(pid)
        except OSError:  # it has forbidden inspection: count all of its memory
            total += measure([pid]).memory_bytes
    return total
