"""System calls that Python's standard library lacks. Knows nothing of runs; every failure is an OSError."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import platform
import re
import struct
from pathlib import Path

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_MOVE, MS_REC, MS_PRIVATE = 32, 4096, 8192, 16384, 1 << 18
MNT_DETACH = 2
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV = 1, 2, 4
AT_FDCWD, AT_RECURSIVE = -100, 0x8000

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NAME, PR_CAPBSET_READ, PR_CAPBSET_DROP = 1, 4, 15, 23, 24
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 36, 38
CAPABILITY_VERSION_3 = 0x20080522
CAP_SYS_CHROOT, CAP_SYS_ADMIN, CAP_SETFCAP = 18, 21, 31
_NAMESPACES = "needs CAP_SYS_ADMIN, or user namespaces that this machine or container allows"
_MOUNTS = (
    "needs CAP_SYS_ADMIN, and in a container no AppArmor profile that forbids mounts; users other than root also need "
    "systempaths=unconfined"
)
GRANTS = {
    "unshare": _NAMESPACES,
    "mount": _MOUNTS,
    "mount_setattr": "needs CAP_SYS_ADMIN, and a seccomp profile that allows mount_setattr",
    "pivot_root": "needs CAP_SYS_ADMIN",
    "chroot": "needs CAP_SYS_CHROOT",
    "setns": "needs CAP_SYS_ADMIN and CAP_SYS_CHROOT",
}

MACHINE = platform.machine()
_NUMBERS = {
    "x86_64": {
        "write": 1, "close": 3, "rt_sigprocmask": 14, "chdir": 80, "umask": 95, "setsid": 112, "setgroups": 116,
        "setresuid": 117, "setresgid": 119, "capset": 126, "pivot_root": 155, "prctl": 157, "openat": 257,
        "unshare": 272, "perf_event_open": 298, "prlimit64": 302, "mount": 165, "mkdirat": 258, "fchmodat": 268,
        "seccomp": 317,
    },
    "aarch64": {
        "mkdirat": 34, "mount": 40, "pivot_root": 41, "chdir": 49, "fchmodat": 53, "openat": 56, "close": 57,
        "write": 64, "capset": 91, "unshare": 97, "rt_sigprocmask": 135, "setresuid": 147, "setresgid": 149,
        "setsid": 157, "setgroups": 159, "umask": 166, "prctl": 167, "perf_event_open": 241, "prlimit64": 261,
        "seccomp": 277,
    },
}  # fmt: skip
SYSTEM_CALLS = _NUMBERS.get(MACHINE, {}) | {
    "mount_setattr": 442,  # from 424 on the numbers are the same everywhere
    "landlock_create_ruleset": 444,
    "landlock_add_rule": 445,
    "landlock_restrict_self": 446,
}

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
_libc.prctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong)
_libc.syscall.restype = ctypes.c_long


def _checked(returned: int, what: str) -> int:
    if returned < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return returned


def _call(name: str, what: str, *values: int | bytes) -> int:
    converted = [ctypes.c_char_p(v) if isinstance(v, bytes) else ctypes.c_long(v) for v in values]
    return _checked(_libc.syscall(ctypes.c_long(SYSTEM_CALLS[name]), *converted), what)


def unshare(flags: int) -> None:
    """unshare(2)."""
    _checked(_libc.unshare(flags), f"unshare {flags:#x}")


def setns(fd: int, kind: int) -> None:
    """setns(2)."""
    _checked(_libc.setns(fd, kind), "setns")


def mount(source: str, target: str, kind: str | None = None, flags: int = 0, data: str | None = None) -> None:
    """mount(2)."""
    texts = [None if t is None else os.fsencode(t) for t in (source, target, kind, data)]
    _checked(_libc.mount(texts[0], texts[1], texts[2], flags, texts[3]), f"mount {source} on {target}")


def unmount(target: str) -> None:
    """umount2(2), lazily."""
    _checked(_libc.umount2(os.fsencode(target), MNT_DETACH), f"unmount {target}")


def make_read_only(target: str) -> None:
    """Make a mount and everything below it read-only, without set-uid programs or devices (mount_setattr(2))."""
    attributes = struct.pack("QQQQ", MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, 0, 0, 0)
    _call("mount_setattr", f"mount_setattr {target}", AT_FDCWD, os.fsencode(target), AT_RECURSIVE, attributes, 32)


def enter_root(new_root: str) -> None:
    """Make a mount the root directory, and detach the old one."""
    try:
        pivot_root(new_root)
    except PermissionError:  # the seccomp profiles of container engines refuse it, whatever the capabilities
        cover_root(new_root)


def pivot_root(new_root: str) -> None:
    """Swap the root for a mount, and unmount the old root."""
    os.chdir(new_root)
    _call("pivot_root", "pivot_root", b".", b".")
    unmount(".")
    os.chdir("/")


def cover_root(new_root: str) -> None:
    """Put a mount on top of the root, and unmount everything that was mounted below except the old root itself.

    The old root stays mounted underneath, where no path leads: `..` ends at our root, and setns(2) goes to the topmost
    mount. Only a descriptor of a folder in it, or another chroot(2), could get there: none is left open, and runs may
    not call chroot(2).
    """
    below = [os.fsdecode(path) for path in _mounts() if path not in (b"/", os.fsencode(new_root))]
    old_root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.chdir(new_root)
        mount(".", "/", None, MS_MOVE)
        _chroot_here()
        os.fchdir(old_root)
        for path in reversed(below):
            if not path.startswith(f"{new_root}/"):
                with contextlib.suppress(OSError):  # gone with another one, or not ours to unmount in a user namespace
                    unmount(path.lstrip("/"))
    finally:
        os.close(old_root)
    os.chdir("/")


def _chroot_here() -> None:
    _checked(_libc.chroot(b"."), "chroot")


def _mounts() -> list[bytes]:
    """Mount points, in the order of mounting."""
    lines = Path("/proc/self/mountinfo").read_bytes().splitlines()
    return [re.sub(rb"\\([0-7]{3})", lambda octal: bytes([int(octal[1], 8)]), line.split()[4]) for line in lines]


def explain(error: OSError) -> str:
    """Describes a failed system call, with the privilege that it needs if known."""
    call = str(error.filename or "").partition(" ")[0]
    why = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    if error.errno not in (errno.EPERM, errno.EACCES) or call not in GRANTS:
        return why
    return f"{why} ({GRANTS[call]})"


def die_with_parent(signal_number: int) -> None:
    """Set the signal to receive when the parent's thread ends; a change of uid clears it."""
    _checked(_libc.prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0), "pdeathsig")


def adopt_orphans() -> None:
    """Become the parent of every descendant whose parent ends."""
    _checked(_libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "subreaper")


def set_dumpable(on: bool) -> None:
    """Whether processes of the same user may inspect this one."""
    _checked(_libc.prctl(PR_SET_DUMPABLE, int(on), 0, 0, 0), "dumpable")


def set_name(name: str) -> None:
    """Set the name that ps shows, up to 15 bytes."""
    buffer = ctypes.create_string_buffer(name.encode()[:15])
    _checked(_libc.prctl(PR_SET_NAME, ctypes.addressof(buffer), 0, 0, 0), "name")


def map_current_user(inside: int, outside_uid: int, outside_gid: int) -> None:
    """In a user namespace just created: `inside` is the id that the user outside has here."""
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{inside} {outside_uid} 1")
    Path("/proc/self/gid_map").write_text(f"{inside} {outside_gid} 1")


def count_cpu_time() -> int:
    """A descriptor that counts the CPU nanoseconds of this process and of all that it forks from now on, whether or not
    anybody waits for them to end (perf_event_open(2)). Raises OSError if the kernel does not allow it."""
    inherit, exclude_kernel, exclude_hypervisor = 1 << 1, 1 << 5, 1 << 6  # without the latter it needs more privileges
    flags = inherit | exclude_kernel | exclude_hypervisor
    software, task_clock, size, close_on_exec = 1, 1, 64, 8
    what = struct.pack("=IIQQQQQIIQ", software, size, task_clock, 0, 0, 0, flags, 0, 0, 0)
    return _call("perf_event_open", "perf_event_open", what, 0, -1, -1, close_on_exec)


def landlock_version() -> int:
    """The kernel's Landlock ABI; 0 if it has none."""
    number = ctypes.c_long(SYSTEM_CALLS["landlock_create_ruleset"])
    return max(0, int(_libc.syscall(number, None, ctypes.c_long(0), ctypes.c_long(1))))


def capabilities() -> list[int]:
    """The capabilities that this kernel knows."""
    return [number for number in range(64) if _libc.prctl(PR_CAPBSET_READ, number, 0, 0, 0) >= 0]
