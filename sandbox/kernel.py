"""System calls that Python's standard library does not have. Knows nothing of runs; every failure is an OSError."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from pathlib import Path

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 32, 4096, 16384, 1 << 18
MNT_DETACH = 2
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV = 1, 2, 4
AT_FDCWD, AT_RECURSIVE = -100, 0x8000

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NAME, PR_CAPBSET_DROP = 1, 4, 15, 24
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 36, 38
CAPABILITY_VERSION_3 = 0x20080522
LAST_CAPABILITY = 40

# Numbers that differ by machine; those from 424 on are the same everywhere.
_NUMBERS = {
    "x86_64": {"pivot_root": 155, "capset": 126, "seccomp": 317},
    "aarch64": {"pivot_root": 41, "capset": 91, "seccomp": 277},
}
MACHINE = platform.machine()
_MOUNT_SETATTR, _LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 442, 444, 445, 446

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
_libc.prctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong)
_libc.syscall.restype = ctypes.c_long


def _checked(returned: int, what: str) -> int:
    if returned < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return returned


def _call(number: int, what: str, *values: int | bytes | None) -> int:
    converted = [ctypes.c_char_p(v) if isinstance(v, bytes | None) else ctypes.c_long(v) for v in values]
    return _checked(_libc.syscall(ctypes.c_long(number), *converted), what)


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
    """A mount and all below it read-only, without set-uid programs or devices (mount_setattr(2))."""
    attributes = struct.pack("QQQQ", MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, 0, 0, 0)
    _call(_MOUNT_SETATTR, f"mount_setattr {target}", AT_FDCWD, os.fsencode(target), AT_RECURSIVE, attributes, 32)


def pivot_root(new_root: str) -> None:
    """Make a mount the root directory and let go of the old one."""
    os.chdir(new_root)
    _call(_NUMBERS[MACHINE]["pivot_root"], "pivot_root", b".", b".")
    unmount(".")
    os.chdir("/")


def no_new_privileges() -> None:
    """From now on no execve(2) grants anything."""
    _checked(_libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")


def die_with_parent(signal_number: int) -> None:
    """The signal to get when the parent's thread ends; a change of uid clears it."""
    _checked(_libc.prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0), "pdeathsig")


def adopt_orphans() -> None:
    """Become the parent of every descendant whose parent ends."""
    _checked(_libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "subreaper")


def set_dumpable(on: bool) -> None:
    """Whether processes of the same user may look into this one."""
    _checked(_libc.prctl(PR_SET_DUMPABLE, int(on), 0, 0, 0), "dumpable")


def set_name(name: str) -> None:
    """The name that ps shows; 15 bytes."""
    buffer = ctypes.create_string_buffer(name.encode()[:15])
    _checked(_libc.prctl(PR_SET_NAME, ctypes.addressof(buffer), 0, 0, 0), "name")


def drop_capabilities() -> None:
    """Give up every capability and the chance to get one back."""
    for capability in range(LAST_CAPABILITY + 1):
        _libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)  # EINVAL for those this kernel does not know
    header = struct.pack("Ii", CAPABILITY_VERSION_3, 0)
    _call(_NUMBERS[MACHINE]["capset"], "capset", header, bytes(24))


def map_current_user(inside: int, outside_uid: int, outside_gid: int) -> None:
    """In a user namespace just made: `inside` is what the user outside is called here."""
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{inside} {outside_uid} 1")
    Path("/proc/self/gid_map").write_text(f"{inside} {outside_gid} 1")


def install_seccomp(program: bytes) -> None:
    """Load a BPF program of 8-byte instructions as the filter of this thread and its children."""
    buffer = ctypes.create_string_buffer(program, len(program))
    head = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(buffer))
    _call(_NUMBERS[MACHINE]["seccomp"], "seccomp", 1, 0, head)


def landlock_version() -> int:
    """The kernel's Landlock ABI; 0 where there is none."""
    return max(0, int(_libc.syscall(ctypes.c_long(_LANDLOCK_CREATE), None, ctypes.c_long(0), ctypes.c_long(1))))


def landlock_create(attributes: bytes) -> int:
    """A ruleset's descriptor."""
    return _call(_LANDLOCK_CREATE, "landlock_create_ruleset", attributes, len(attributes), 0)


def landlock_allow(ruleset: int, access: int, path: str) -> None:
    """Allow what `access` says below a path; a path that does not exist is left out."""
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError):
        return
    try:
        _call(_LANDLOCK_ADD, f"landlock_add_rule {path}", ruleset, 1, struct.pack("=Qi", access, fd), 0)
    finally:
        os.close(fd)


def landlock_restrict(ruleset: int) -> None:
    """Put this thread and its children under a ruleset, for good."""
    _call(_LANDLOCK_RESTRICT, "landlock_restrict_self", ruleset, 0)
