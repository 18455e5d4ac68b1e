"""What a process does to itself, once, before it may run user code. The one place to audit; the order matters."""

from __future__ import annotations

import contextlib
import os
import resource
import signal

from sandbox import kernel, landlock, seccomp
from sandbox.orders import SpawnOrder, TemplateSettings
from sandbox.root import DEVICES, STAND_INS, WORKSPACE

CHANNEL = 3
NAMESPACE_USER = 1000
STACK_BYTES = {"python": 2 << 20, "node": 8 << 20}
# Found once, since a seccomp filter is the same for every run.
_FILTER = seccomp.deny_list(kernel.MACHINE) if kernel.MACHINE in ("x86_64", "aarch64") else b""


def confine(order: SpawnOrder, settings: TemplateSettings, fds: tuple[int, int, int], workspace: str) -> None:
    """Turn this freshly forked process into one that holds nothing of the platform.

    `fds` are the channel and the pipes of standard output and error; they become 3, 1 and 2.
    """
    os.setsid()
    _keep_only(fds)
    _reset_signals()
    _set_environment(workspace)
    kernel.set_dumpable(True)  # what the template hides is behind us; without it /proc/self is not ours
    if settings.mode == "user_namespace":
        # A nested namespace: processes are counted in it, so the limit is this run's alone.
        uid, gid = os.getuid(), os.getgid()
        kernel.unshare(kernel.CLONE_NEWUSER)
        kernel.map_current_user(NAMESPACE_USER, uid, gid)
    elif settings.base_uid is not None:
        uid = settings.base_uid + order.slot
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
        kernel.set_dumpable(True)  # the change of user took it away
    kernel.die_with_parent(signal.SIGKILL)
    _limit_resources(order)
    kernel.no_new_privileges()
    if settings.mode == "user_namespace":
        kernel.drop_capabilities()
    # With namespaces the whole root was made for runs; without, only parts of the machine's are for them.
    readable = [*settings.readable, "/proc/self"] if settings.mode == "process" else ["/"]
    devices = [name for name in DEVICES if settings.mode != "process" or name not in STAND_INS]
    landlock.restrict(readable, [workspace], [f"/dev/{name}" for name in devices])
    if _FILTER:
        kernel.install_seccomp(_FILTER)


def _keep_only(fds: tuple[int, int, int]) -> None:
    channel, output, errors = fds
    copies = [os.dup(fd) for fd in (output, errors, channel)]  # above 3, so that none overwrites another
    for number, copy in enumerate(copies, start=1):
        os.dup2(copy, number, inheritable=True)
    os.closerange(CHANNEL + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[1])


def _reset_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write beyond the limit fails with EFBIG instead
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _set_environment(workspace: str) -> None:
    os.environ.clear()
    os.environ.update(
        PATH="/usr/local/bin:/usr/bin:/bin",
        HOME=workspace,
        TMPDIR=f"{workspace}/tmp",
        LANG="C.UTF-8",
        MALLOC_ARENA_MAX="2",
    )
    os.chdir(workspace)
    os.umask(0o077)


def _limit_resources(order: SpawnOrder) -> None:
    stack = STACK_BYTES["node" if order.argv else "python"]
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: order.file_bytes,
        resource.RLIMIT_NOFILE: order.open_files,
        resource.RLIMIT_NPROC: order.processes,
        resource.RLIMIT_STACK: stack,
        resource.RLIMIT_MSGQUEUE: 0,
        resource.RLIMIT_MEMLOCK: 64 << 10,
        resource.RLIMIT_RTPRIO: 0,
        resource.RLIMIT_NICE: 0,
    }
    if order.data_bytes:
        limits[resource.RLIMIT_DATA] = order.data_bytes
    if order.cpu_seconds:
        limits[resource.RLIMIT_CPU] = order.cpu_seconds
    for kind, value in limits.items():
        lower(kind, value)


def lower(kind: int, value: int, extra: int = 0) -> None:
    """Set a limit, never above the hard one that already stands; `extra` is how much higher the hard one is."""
    _, hard = resource.getrlimit(kind)
    ceiling = value + extra if hard == resource.RLIM_INFINITY else min(hard, value + extra)
    with contextlib.suppress(ValueError):
        resource.setrlimit(kind, (min(value, ceiling), ceiling))


__all__ = ["CHANNEL", "WORKSPACE", "confine", "lower"]
