"""What confines a run: a plan of system calls that its process carries out on itself before it may run user code.

The one place to audit, for both runtimes; the order matters. Descriptors, signal handlers and the environment are the
runtime's own business, and done before.
"""

from __future__ import annotations

import functools
import os
import resource
import signal
import struct
from pathlib import Path
from typing import Any

from sandbox.confinement import kernel, landlock, root, seccomp
from sandbox.confinement.plan import Plan, Result
from sandbox.confinement.root import DEVICES, PACKAGES, STAND_INS, WORKSPACE
from sandbox.protocol.orders import SpawnOrder, TemplateSettings
from sandbox.supervisor import usage

CHANNEL = 3
NAMESPACE_USER = 1000
STACK_BYTES = {"python": 2 << 20, "node": 8 << 20}
SUPERVISOR_NAME = "zmesh-run"
_OWN_BYTES = struct.Struct("=Q")
_RLIMIT = struct.Struct("=QQ")
OOM_SCORE_ADJUSTMENT = 500  # the kernel, out of memory, ends a run before the template or the listener
_CAPABILITIES = struct.Struct("=Ii")


def workspace_of(order: SpawnOrder, settings: TemplateSettings) -> str:
    """The folder that a run may write to, as the run sees it."""
    return WORKSPACE if settings.mode != "process" else f"{settings.run_dir}/run-{order.run}"


def packages_of(settings: TemplateSettings) -> str:
    """The folder that runs of Python import from, as the run sees it."""
    return PACKAGES if settings.mode != "process" else f"{settings.run_dir}/packages"


def environment(workspace: str) -> dict[str, str]:
    """The environment variables of a run."""
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": workspace,
        "TMPDIR": f"{workspace}/tmp",
        "LANG": "C.UTF-8",
        "MALLOC_ARENA_MAX": "2",
    }


class Confinement:
    """The plans for the runs of one template, each made once where there are namespaces."""

    def __init__(self, settings: TemplateSettings) -> None:
        self._settings = settings
        self._uid, self._gid = os.getuid(), os.getgid()
        own_score = int(Path("/proc/self/oom_score_adj").read_text())
        self._oom_score = str(min(own_score + OOM_SCORE_ADJUSTMENT, 1000))
        self._plan = functools.lru_cache(maxsize=128)(self._make)
        self._encoded = functools.lru_cache(maxsize=128)(self._encode)

    def plan(self, order: SpawnOrder) -> Plan:
        """What the process of a run does to itself."""
        return self._plan(order.slot, workspace_of(order, self._settings), self._limits(order))

    def encoded(self, order: SpawnOrder) -> bytes:
        """What the native supervisor takes: a plan for itself, and the one for its run."""
        own_mounts = order.workspace_mb, order.workspace_files
        return self._encoded(own_mounts, order.slot, WORKSPACE, self._limits(order))

    def _encode(self, own_mounts: tuple[int, int], *key: Any) -> bytes:
        own = Plan()
        own.call("prctl", kernel.PR_SET_NAME, SUPERVISOR_NAME)
        root.add_own(own, *own_mounts)
        if self._settings.mode == "user_namespace":
            # A program that was started in our user namespace is our user's, though it may not be looked into.
            own.call("mount", root.EMPTY, "/proc/1", 0, kernel.MS_BIND, 0)
        encoded = own.encode()
        return _OWN_BYTES.pack(len(encoded)) + encoded + self._plan(*key).encode()

    def _make(self, slot: int, workspace: str, limits: tuple[tuple[int, int], ...]) -> Plan:
        settings = self._settings
        plan = Plan()
        plan.call("setsid")
        plan.call("rt_sigprocmask", signal.SIG_SETMASK, bytes(8), 0, 8)
        plan.call("chdir", workspace)
        plan.call("umask", 0o077)
        # What the template hides is behind us; without this /proc/self is not ours.
        plan.call("prctl", kernel.PR_SET_DUMPABLE, 1)
        _write(plan, "/proc/self/oom_score_adj", self._oom_score)
        ruleset = self._add_ruleset(plan, workspace)  # while we may still open all that a run may
        if settings.mode == "user_namespace":
            self._enter_user_namespace(plan)
        elif settings.base_uid is not None:
            self._change_user(plan, settings.base_uid + slot)
        if settings.mode == "process":  # elsewhere the kernel ends a run with process 1 of its namespace
            plan.call("prctl", kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        for kind, value in limits:
            self._limit(plan, kind, value)
        plan.call("prctl", kernel.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        if settings.mode == "user_namespace":
            self._drop_capabilities(plan)
        if ruleset is not None:
            landlock.add_restriction(plan, ruleset)
        seccomp.add_filter(plan, seccomp.deny_list(kernel.MACHINE))
        return plan

    def _add_ruleset(self, plan: Plan, workspace: str) -> Result | None:
        # With namespaces the whole root was made for runs; without, only parts of the machine's are for them.
        namespaces = self._settings.mode != "process"
        readable = ["/"] if namespaces else [*self._settings.readable, "/proc/self"]
        devices = [f"/dev/{name}" for name in DEVICES if namespaces or name not in STAND_INS]
        return landlock.add_ruleset(plan, readable, workspace, devices)

    def _enter_user_namespace(self, plan: Plan) -> None:
        """A nested one: processes are counted in it, so the limit is this run's alone."""
        plan.call("unshare", kernel.CLONE_NEWUSER)
        _write(plan, "/proc/self/setgroups", "deny")
        _write(plan, "/proc/self/uid_map", f"{NAMESPACE_USER} {self._uid} 1")
        _write(plan, "/proc/self/gid_map", f"{NAMESPACE_USER} {self._gid} 1")

    @staticmethod
    def _change_user(plan: Plan, uid: int) -> None:
        plan.call("setgroups", 0, 0)
        plan.call("setresgid", uid, uid, uid)
        plan.call("setresuid", uid, uid, uid)
        plan.call("prctl", kernel.PR_SET_DUMPABLE, 1)  # the change of user took it away

    @staticmethod
    def _limit(plan: Plan, kind: int, value: int) -> None:
        """Never above the hard limit that already stands."""
        _, hard = resource.getrlimit(kind)
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        plan.call("prlimit64", 0, kind, _RLIMIT.pack(value, value), 0)

    @staticmethod
    def _drop_capabilities(plan: Plan) -> None:
        for capability in kernel.capabilities():
            plan.call("prctl", kernel.PR_CAPBSET_DROP, capability, 0, 0, 0)
        plan.call("capset", _CAPABILITIES.pack(kernel.CAPABILITY_VERSION_3, 0), bytes(24))

    def _limits(self, order: SpawnOrder) -> tuple[tuple[int, int], ...]:
        processes = order.processes
        if self._settings.mode == "process" and self._settings.base_uid is None:
            processes += usage.tasks_of(self._uid)  # runs have no user of their own: the platform's count with theirs
        limits = {
            resource.RLIMIT_CORE: 0,
            resource.RLIMIT_FSIZE: order.file_bytes,
            resource.RLIMIT_NOFILE: order.open_files,
            resource.RLIMIT_NPROC: processes,
            resource.RLIMIT_STACK: STACK_BYTES[order.runtime],
            resource.RLIMIT_MSGQUEUE: 0,
            resource.RLIMIT_MEMLOCK: 64 << 10,
            resource.RLIMIT_RTPRIO: 0,
            resource.RLIMIT_NICE: 0,
        }
        if order.data_bytes:
            limits[resource.RLIMIT_DATA] = order.data_bytes
        if order.cpu_seconds:
            limits[resource.RLIMIT_CPU] = order.cpu_seconds
        return tuple(limits.items())


def _write(plan: Plan, path: str, text: str) -> None:
    file = plan.call("openat", kernel.AT_FDCWD, path, os.O_WRONLY | os.O_CLOEXEC, 0)
    plan.call("write", file, text, len(text))
    plan.call("close", file)
