"""How a process that Python forked becomes a run: it lets go of what it inherited, is confined, starts its runtime."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import struct
import sys
import traceback
from typing import Any, NoReturn

from sandbox.confinement import kernel
from sandbox.confinement.confinement import CHANNEL, environment
from sandbox.confinement.plan import Plan
from sandbox.protocol.orders import SpawnOrder

_PARAMETERS = struct.Struct("!QQ")  # what a run of Python reads first: address space beside its own, CPU seconds
RunFds = tuple[int, int, int]  # the channel, and the pipes of standard output and error


def become_run(order: SpawnOrder, plan: Plan, fds: RunFds, workspace: str, runtime: Any) -> NoReturn:
    """Never returns, whatever happens; `runtime` is Python's, None where this is to be a run of Node.js."""
    try:
        _let_go(fds, workspace)
        plan.carry_out()
        if runtime is None:
            os.execve(order.argv[0], order.argv, os.environ)
        kernel.set_name("python")
        for name in [name for name in sys.modules if name.partition(".")[0] == "sandbox"]:
            del sys.modules[name]
        runtime.serve(CHANNEL, limit_python)
    except OSError as error:
        os.write(2, f"the run did not start: {kernel.explain(error)}\n".encode())
    except BaseException:
        # By now 2 is the run's own standard error, or still the template's.
        os.write(2, traceback.format_exc().encode())
    os._exit(99)


def limit_python() -> None:
    """In a process that is confined and ready: wait for the limits of the run."""
    own_bytes = _address_space()
    memory, cpu_seconds = _PARAMETERS.unpack(_read_exactly(CHANNEL, _PARAMETERS.size))
    _lower(resource.RLIMIT_AS, own_bytes + memory)
    _lower(resource.RLIMIT_CPU, cpu_seconds, extra=1)


def _let_go(fds: RunFds, workspace: str) -> None:
    channel, output, errors = fds
    copies = [os.dup(fd) for fd in (output, errors, channel)]  # above 3, so that none overwrites another
    for number, copy in enumerate(copies, start=1):
        os.dup2(copy, number, inheritable=True)
    os.closerange(CHANNEL + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write beyond the limit fails with EFBIG instead
    os.environ.clear()
    os.environ.update(environment(workspace))


def _lower(kind: int, value: int, extra: int = 0) -> None:
    """Set a limit, never above the hard one that already stands; `extra` is how much higher the hard one is."""
    _, hard = resource.getrlimit(kind)
    ceiling = value + extra if hard == resource.RLIM_INFINITY else min(hard, value + extra)
    with contextlib.suppress(ValueError):
        resource.setrlimit(kind, (min(value, ceiling), ceiling))


def _address_space() -> int:
    file = os.open("/proc/self/statm", os.O_RDONLY)
    pages = os.read(file, 64).split()[0]
    os.close(file)
    return int(pages) * resource.getpagesize()


def _read_exactly(fd: int, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = os.read(fd, count - len(data))
        if not part:
            os._exit(0)  # the sandbox closed: this run was never needed
        data += part
    return data
