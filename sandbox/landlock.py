"""Landlock: which files a run may touch, whoever owns them (Linux 5.13 and newer)."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable

from sandbox import kernel

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_TRUNCATE, _IOCTL_DEV = 1 << 14, 1 << 15
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS = 3


def handled_access(version: int) -> int:
    """Every file access that this ABI can restrict."""
    access = (1 << 13) - 1
    for since, bit in ((2, 1 << 13), (3, _TRUNCATE), (5, _IOCTL_DEV)):
        access |= bit if version >= since else 0
    return access


def restrict(readable: Iterable[str], writable: Iterable[str], devices: Iterable[str]) -> None:
    """Confine this process to these paths; from ABI 6 on, no signal and no abstract socket reaches outside."""
    version = kernel.landlock_version()
    if version == 0:
        return
    handled = handled_access(version)
    words = (handled, 0, _SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS)[: 3 if version >= 6 else 2 if version >= 4 else 1]
    ruleset = kernel.landlock_create(struct.pack(f"{len(words)}Q", *words))
    rules = [(path, _EXECUTE | _READ_FILE | _READ_DIR) for path in readable]
    rules += [(path, handled) for path in writable]
    rules += [(path, _READ_FILE | _WRITE_FILE | _TRUNCATE | _IOCTL_DEV) for path in devices]
    for path, access in rules:
        allowed = access if os.path.isdir(path) else access & _OF_FILES
        kernel.landlock_allow(ruleset, allowed & handled, path)
    kernel.landlock_restrict(ruleset)
    os.close(ruleset)
