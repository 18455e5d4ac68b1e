"""Runs a command that is limited and can read only some paths of this host: for parsers of what somebody sends.

A program of its own, started by api/management/bounded_processes.py with bytes of address space and of data (0: no
limit), the number of paths that may be read (0: all), these paths, and the command.
"""

from __future__ import annotations

import ctypes
import os
import resource
import struct
import sys

CPU_SECONDS = 5
OPEN_FILES = 64
# Landlock, https://docs.kernel.org/userspace-api/landlock.html. Its system calls have the same numbers everywhere.
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
PATH_BENEATH, SET_NO_NEW_PRIVS = 1, 38
EXECUTE, READ_FILE, READ_FOLDER = 1, 4, 8
ACCESS_SINCE = ((1, (1 << 13) - 1), (2, 1 << 13), (3, 1 << 14), (5, 1 << 15))
TCP_SINCE, BIND_AND_CONNECT = 4, 3
SCOPES_SINCE, ABSTRACT_SOCKETS_AND_SIGNALS = 6, 3


def limit(memory: int, data: int) -> None:
    """Limit this process and its children."""
    bounds = {
        resource.RLIMIT_CPU: CPU_SECONDS,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: OPEN_FILES,
        resource.RLIMIT_AS: memory or None,
        resource.RLIMIT_DATA: data or None,
    }
    for kind, bound in bounds.items():
        if bound is not None:
            resource.setrlimit(kind, (bound, bound))
    with open("/proc/self/oom_score_adj", "w") as file:  # the kernel kills it rather than the API
        file.write("1000")


def confine(readable: list[str]) -> None:
    """From here on, this process and its children can read only these paths, write nothing, and reach no server and no
    other process, as far as the kernel can limit that (Linux 5.13; TCP 6.7, signals 6.12)."""
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    syscall.restype = ctypes.c_long
    long, size = ctypes.c_long, ctypes.c_size_t
    version = syscall(long(CREATE_RULESET), None, size(0), long(1))
    if version < 1:
        return
    handled = sum(access for since, access in ACCESS_SINCE if version >= since)
    tcp = BIND_AND_CONNECT if version >= TCP_SINCE else 0
    scopes = ABSTRACT_SOCKETS_AND_SIGNALS if version >= SCOPES_SINCE else 0
    attributes = struct.pack("=QQQ", handled, tcp, scopes)
    known = 8 * (1 + (version >= TCP_SINCE) + (version >= SCOPES_SINCE))
    ruleset = syscall(long(CREATE_RULESET), attributes, size(known), long(0))
    done = [ruleset]
    for path in readable:
        try:
            beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        access = EXECUTE | READ_FILE | (READ_FOLDER if os.path.isdir(path) else 0)
        rule = struct.pack("=Qi", access, beneath)
        done.append(syscall(long(ADD_RULE), long(ruleset), long(PATH_BENEATH), rule, long(0)))
        os.close(beneath)
    done.append(ctypes.CDLL(None, use_errno=True).prctl(SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    done.append(syscall(long(RESTRICT_SELF), long(ruleset), long(0)))
    if min(done) < 0:
        raise OSError(ctypes.get_errno(), "a parser cannot be confined")
    os.close(ruleset)


if __name__ == "__main__":
    memory, data, count, *given = sys.argv[1:]
    readable, command = given[: int(count)], given[int(count) :]
    limit(int(memory), int(data))
    if readable:
        confine(readable)
    os.execv(command[0], command)
