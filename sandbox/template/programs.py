"""Programs beside the template that take orders over a socket: its forks that exec them, and the order for a run."""

from __future__ import annotations

import os
import resource
import socket
from collections.abc import Mapping

from sandbox import native
from sandbox.confinement import kernel
from sandbox.confinement.plan import Plan
from sandbox.protocol.orders import decode_made
from sandbox.protocol.table import CODE, ORDERS
from sandbox.template.run_process import RunFds

KILL = 9


def start_program(
    argv: list[str], environment: Mapping[str, str], plan: Plan, code: int | None = None
) -> tuple[int, socket.socket]:
    """The program's process number, and the other end of its descriptor 3. It first carries out `plan`; a file with
    code is its descriptor 4."""
    orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pid = os.fork()
    if pid == 0:
        _become_program(argv, environment, plan, theirs.fileno(), code)
    theirs.close()
    return pid, orders


def _become_program(argv: list[str], environment: Mapping[str, str], plan: Plan, orders: int, code: int | None) -> None:
    try:
        os.setsid()
        kernel.die_with_parent(KILL)
        os.dup2(os.dup(orders), ORDERS, inheritable=True)
        os.dup2(0, 1, inheritable=True)
        if code is not None:
            os.dup2(code, CODE)
            os.set_inheritable(CODE, True)
        os.closerange(ORDERS + 1 if code is None else CODE + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
        plan.carry_out()
        os.execve(argv[0], argv, environment)
    except BaseException as error:
        os.write(ORDERS, f"{type(error).__name__}: {error}".encode())
    finally:
        os._exit(99)


class Supervisors:
    """The program that creates supervisors for runs forked from a booted runtime (supervisor/supervisor.c)."""

    def __init__(self) -> None:
        self.pid, self._orders = start_program([native.SUPERVISOR], {}, Plan())

    def make(self, plans: bytes, fds: RunFds, supervision: int, runtime: socket.socket) -> int:
        """The process number of a new supervisor, our child, which orders its run from `runtime`. Raises OSError."""
        socket.send_fds(self._orders, [plans], [*fds, supervision, runtime.fileno()])
        return decode_made(self._orders.recv(4096))
