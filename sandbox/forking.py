"""Ordering a run from a template: a runtime that has booted, and forks."""

from __future__ import annotations

import os
import select
import socket
import struct

from sandbox.newborn import RunFds

_NAMESPACES = ("pid", "mnt", "ipc", "uts")  # in the order that native/template.c expects
_NUMBER = struct.Struct("=i")
ANSWER_SECONDS = 10.0


def fork_from(orders: socket.socket, plan: bytes, fds: RunFds) -> int:
    """Called by process 1 of a run's namespaces: have a run forked into them, as a child of ours. Raises OSError."""
    answer, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    namespaces = [os.open(f"/proc/self/ns/{name}", os.O_RDONLY | os.O_CLOEXEC) for name in _NAMESPACES]
    try:
        socket.send_fds(orders, [plan], [*fds, theirs.fileno(), *namespaces])
    finally:
        theirs.close()
        for fd in namespaces:
            os.close(fd)
    ready, _, _ = select.select([answer], [], [], ANSWER_SECONDS)
    said = answer.recv(_NUMBER.size) if ready else b""
    answer.close()
    if not said:
        raise OSError("the runtime's template did not answer")
    number: int = _NUMBER.unpack(said)[0]
    if number < 0:
        raise OSError(-number, os.strerror(-number), "fork of the runtime's template")
    return number
