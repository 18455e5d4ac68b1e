"""Turns a process that Python forked into a run: it drops what it inherited, is confined, and starts its runtime."""

from __future__ import annotations

import os
import resource
import signal
import sys
import traceback
from typing import Any, NoReturn

from sandbox.confinement import kernel
from sandbox.confinement.limits import limiter_of_this_process
from sandbox.confinement.plan import Plan
from sandbox.protocol.orders import SpawnOrder
from sandbox.protocol.table import CHANNEL

RunFds = tuple[int, int, int]  # the channel, and the pipes of standard output and error


def environment(workspace: str) -> dict[str, str]:
    """The environment variables of a run."""
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": workspace,
        "TMPDIR": f"{workspace}/tmp",
        "LANG": "C.UTF-8",
        "MALLOC_ARENA_MAX": "2",
    }


def become_run(order: SpawnOrder, plan: Plan, fds: RunFds, workspace: str, runtime: Any) -> NoReturn:
    """Never returns, whatever happens; `runtime` is Python's, or None if this is to be a run of Node.js."""
    try:
        _let_go(fds, workspace)
        plan.carry_out()
        if runtime is None:
            os.execve(order.argv[0], order.argv, os.environ)
        kernel.set_name("python")
        for name in [name for name in sys.modules if name.partition(".")[0] == "sandbox"]:
            del sys.modules[name]
        runtime.serve(CHANNEL, limiter_of_this_process)
    except OSError as error:
        os.write(2, f"the run did not start: {kernel.explain(error)}\n".encode())
    except BaseException:
        # By now 2 is the run's own standard error, or still the template's.
        os.write(2, traceback.format_exc().encode())
    os._exit(99)


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
