"""Landlock: which files a run may touch, whoever owns them (Linux 5.13 and newer), and where it may listen (6.7)."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable

from sandbox.confinement import kernel
from sandbox.confinement.plan import Plan, Result

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_TRUNCATE, _IOCTL_DEV = 1 << 14, 1 << 15
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
_SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS = 3
_BIND_TCP = 1
_PATH_BENEATH, _NET_PORT = 1, 2
_RULE = struct.Struct("=Qi")  # access, descriptor of the path
_PORT_RULE = struct.Struct("=QQ")  # access, port
_ANY_FREE_PORT = 0
PORTS_SINCE = 4  # the ABI that restricts TCP ports
_DESCRIPTOR_AT = 8


def handled_access(version: int) -> int:
    """Every file access that this ABI can restrict."""
    access = (1 << 13) - 1
    for since, bit in ((2, 1 << 13), (3, _TRUNCATE), (5, _IOCTL_DEV)):
        access |= bit if version >= since else 0
    return access


def add_ruleset(plan: Plan, readable: Iterable[str], writable: str, devices: Iterable[str]) -> Result | None:
    """Make a set of rules that allows these paths only; None where the kernel has no Landlock.

    From ABI 4 on the kernel chooses the TCP port to listen on, so that nobody takes that of a server that does not run
    at this moment; from ABI 6 on no signal and no abstract socket reach outside. `writable` is a folder that may not be
    there yet; of the others, those that we cannot reach are left out.
    """
    version = kernel.landlock_version()
    if version == 0:
        return None
    handled = handled_access(version)
    ports = version >= PORTS_SINCE
    words = (handled, _BIND_TCP, _SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS)[: 3 if version >= 6 else 2 if ports else 1]
    attributes = struct.pack(f"{len(words)}Q", *words)
    ruleset = plan.call("landlock_create_ruleset", attributes, len(attributes), 0)
    rules = [(path, _EXECUTE | _READ_FILE | _READ_DIR) for path in readable]
    rules += [(path, _READ_FILE | _WRITE_FILE | _TRUNCATE | _IOCTL_DEV) for path in devices]
    for path, access in rules:
        if _can_be_reached(path):
            _add_rule(plan, ruleset, path, handled & (access if os.path.isdir(path) else access & _OF_FILES))
    _add_rule(plan, ruleset, writable, handled)
    if ports:
        plan.call("landlock_add_rule", ruleset, _NET_PORT, _PORT_RULE.pack(_BIND_TCP, _ANY_FREE_PORT), 0)
    return ruleset


def add_scope(plan: Plan) -> None:
    """Put the process and its children under the rules for ports, signals and abstract sockets alone, for good."""
    version = kernel.landlock_version()
    if version < PORTS_SINCE:
        return
    words = (0, _BIND_TCP, _SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS)[: 3 if version >= 6 else 2]
    attributes = struct.pack(f"{len(words)}Q", *words)
    ruleset = plan.call("landlock_create_ruleset", attributes, len(attributes), 0)
    plan.call("landlock_add_rule", ruleset, _NET_PORT, _PORT_RULE.pack(_BIND_TCP, _ANY_FREE_PORT), 0)
    add_restriction(plan, ruleset)


def add_restriction(plan: Plan, ruleset: Result) -> None:
    """Put the process and its children under a set of rules, for good."""
    plan.call("landlock_restrict_self", ruleset, 0)
    plan.call("close", ruleset)


def _can_be_reached(path: str) -> bool:
    try:
        os.close(os.open(path, os.O_PATH | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _add_rule(plan: Plan, ruleset: Result, path: str, access: int) -> None:
    rule = plan.put(_RULE.pack(access, 0))
    beneath = plan.call("openat", kernel.AT_FDCWD, path, os.O_PATH | os.O_CLOEXEC, 0, into=rule + _DESCRIPTOR_AT)
    plan.call("landlock_add_rule", ruleset, _PATH_BENEATH, rule, 0)
    plan.call("close", beneath)
