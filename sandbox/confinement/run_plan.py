"""What confines a run: a plan of system calls that its process carries out on itself before it may run user code.

The one place to audit, for both runtimes; the order matters. Descriptors, signal handlers and the environment are the
runtime's own business, and done before.
"""

from __future__ import annotations

import functools
import os
import signal
import struct
from pathlib import Path

from sandbox.confinement import kernel, landlock, limits, root, seccomp
from sandbox.confinement.limits import OOM_SCORE_ADJUSTMENT, StandingLimits
from sandbox.confinement.plan import Plan, Result
from sandbox.confinement.root import DEVICES, STAND_INS, WORKSPACE, image_of, workspace_of
from sandbox.protocol.orders import SpawnOrder, TemplateSettings, encode_plans
from sandbox.supervisor import usage

NAMESPACE_USER = 1000
SUPERVISOR_NAME = "zmesh-run"
_CAPABILITIES = struct.Struct("=Ii")
_SETS = struct.Struct("=6I")  # effective, permitted and inheritable, twice 32 bits
# In the user namespace of the image alone. With these a template's forks go to the namespaces of their runs, and have
# user namespaces of their own.
_OF_TEMPLATE = (kernel.CAP_SYS_CHROOT, kernel.CAP_SYS_ADMIN, kernel.CAP_SETFCAP)


class RunPlans:
    """The plans for the runs of one template, each made once where there are namespaces."""

    def __init__(self, settings: TemplateSettings) -> None:
        self._settings = settings
        self._uid, self._gid = os.getuid(), os.getgid()
        own_score = int(Path("/proc/self/oom_score_adj").read_text())
        self._oom_score = str(min(own_score + OOM_SCORE_ADJUSTMENT, 1000))
        self._plan = functools.lru_cache(maxsize=128)(self._make)
        self._encoded = functools.lru_cache(maxsize=512)(self._encode)

    def plan(self, order: SpawnOrder) -> Plan:
        """What the process of a run does to itself."""
        workspace = workspace_of(order.run, self._settings)
        return self._plan(order.slot, workspace, order.network, order.limits, self._other_processes(), order.image)

    def encoded(self, order: SpawnOrder) -> bytes:
        """What the native supervisor takes: a plan for itself, and the one for its run."""
        return self._encoded(order.slot, order.network, order.limits, order.image)

    def plan_of_template(self, *, network: bool) -> Plan:
        """What a template of an image does to itself before it imports packages: whatever they do to it, they are as
        confined as in a run."""
        plan = Plan()
        plan.call("umask", 0o077)
        plan.call("prctl", kernel.PR_SET_DUMPABLE, 1)
        _write(plan, "/proc/self/oom_score_adj", self._oom_score)
        limits.add_rlimits(plan, limits.rlimits_of_template())
        plan.call("prctl", kernel.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        for capability in set(kernel.capabilities()).difference(_OF_TEMPLATE):
            plan.call("prctl", kernel.PR_CAPBSET_DROP, capability, 0, 0, 0)
        kept = sum(1 << capability for capability in _OF_TEMPLATE)
        plan.call("capset", _CAPABILITIES.pack(kernel.CAPABILITY_VERSION_3, 0), _SETS.pack(kept, kept, 0, 0, 0, 0))
        landlock.add_scope(plan)
        seccomp.add_filter(plan, seccomp.deny_list_of_template(kernel.MACHINE))
        if not network:
            seccomp.add_filter(plan, seccomp.without_network(kernel.MACHINE))
        return plan

    def _encode(self, slot: int, network: bool, limits: StandingLimits, image: str) -> bytes:
        own = Plan()
        own.call("prctl", kernel.PR_SET_NAME, SUPERVISOR_NAME)
        root.add_own(own, limits.workspace_mb, limits.workspace_files, self._own_image(image))
        if self._settings.mode == "user_namespace":
            # A program that was started in our user namespace is our user's, though it may not be looked into.
            own.call("mount", root.EMPTY, "/proc/1", 0, kernel.MS_BIND, 0)
        return encode_plans(own.encode(), self._plan(slot, WORKSPACE, network, limits, 0, "").encode())

    def _own_image(self, image: str) -> str | None:
        """What a run has to mount; where its template has one image, that is there already."""
        return image if self._settings.images and self._settings.image is None else None

    def _make(
        self, slot: int, workspace: str, network: bool, standing: StandingLimits, other_processes: int, image: str
    ) -> Plan:
        settings = self._settings
        plan = Plan()
        plan.call("setsid")
        plan.call("rt_sigprocmask", signal.SIG_SETMASK, bytes(8), 0, 8)
        plan.call("chdir", workspace)
        plan.call("umask", 0o077)
        # What the template hides is behind us; without this /proc/self is not ours.
        plan.call("prctl", kernel.PR_SET_DUMPABLE, 1)
        _write(plan, "/proc/self/oom_score_adj", self._oom_score)
        ruleset = self._add_ruleset(plan, workspace, image)  # while we may still open all that a run may
        if settings.mode == "user_namespace":
            self._enter_user_namespace(plan)
        elif settings.base_uid is not None:
            self._change_user(plan, settings.base_uid + slot)
        if settings.mode == "process":  # elsewhere the kernel ends a run with process 1 of its namespace
            plan.call("prctl", kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        limits.add_rlimits(plan, standing.rlimits(other_processes))
        plan.call("prctl", kernel.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        if settings.mode == "user_namespace":
            self._drop_capabilities(plan)
        if ruleset is not None:
            landlock.add_restriction(plan, ruleset)
        seccomp.add_filter(plan, seccomp.deny_list(kernel.MACHINE))
        if not network:
            seccomp.add_filter(plan, seccomp.without_network(kernel.MACHINE))
        return plan

    def _add_ruleset(self, plan: Plan, workspace: str, image: str) -> Result | None:
        # With namespaces the whole root was made for runs; without, only parts of the machine's are for them.
        namespaces = self._settings.mode != "process"
        readable = ["/"] if namespaces else [*self._settings.readable, "/proc/self"]
        if image and not namespaces:
            readable.append(image_of(image, self._settings))
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
    def _drop_capabilities(plan: Plan) -> None:
        for capability in kernel.capabilities():
            plan.call("prctl", kernel.PR_CAPBSET_DROP, capability, 0, 0, 0)
        plan.call("capset", _CAPABILITIES.pack(kernel.CAPABILITY_VERSION_3, 0), bytes(24))

    def _other_processes(self) -> int:
        """Those of the platform's own user that count with a run's, where runs have no user of their own."""
        if self._settings.mode == "process" and self._settings.base_uid is None:
            return usage.tasks_of(self._uid)
        return 0


def _write(plan: Plan, path: str, text: str) -> None:
    file = plan.call("openat", kernel.AT_FDCWD, path, os.O_WRONLY | os.O_CLOEXEC, 0)
    plan.call("write", file, text, len(text))
    plan.call("close", file)
