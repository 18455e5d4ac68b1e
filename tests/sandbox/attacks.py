"""Attacks in Python: what they share, as text put before the body of a handler, and those that several tests try."""

from __future__ import annotations

SYSCALLS = '''
import ctypes, errno, os, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long

def syscall(number, *values):
    """The name of the error, or "done"."""
    ctypes.set_errno(0)
    converted = [ctypes.c_char_p(v) if isinstance(v, (bytes, type(None))) else ctypes.c_long(v) for v in values]
    if libc.syscall(ctypes.c_long(number), *converted) >= 0:
        return "done"
    return errno.errorcode[ctypes.get_errno()]

def error_of(attempt):
    """The name of the error that an attempt ends with, or "done"."""
    try:
        attempt()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"

def outcome_of(attempt):
    """How a child that tries this ends: the number of its signal, or minus its exit status."""
    pid = os.fork()
    if pid == 0:
        try:
            attempt()
        finally:
            os._exit(7)
    status = os.waitpid(pid, 0)[1]
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else -os.WEXITSTATUS(status)

def machine_code(code):
    """A function of no arguments made of these bytes."""
    import mmap
    memory = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=7)
    memory.write(code)
    machine_code.kept = memory
    return ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(memory)))
'''


def python(body: str) -> str:
    """A module whose handler may use what is above."""
    import textwrap

    return SYSCALLS + "\ndef handler(payload, zmesh):\n" + textwrap.indent(textwrap.dedent(body).strip("\n"), "    ")


# What a run may try: bodies of handlers, each of which returns what it got.
SYSTEM_CALLS_OUT = """
os.mkdir("here")
NEWUSER = 0x10000000
calls = {
    "unshare user": (272, NEWUSER), "unshare mount": (272, 0x20000),
    "clone user": (56, NEWUSER | 17, 0, 0, 0, 0),
    "setns": (308, 0, 0), "mount": (165, b"none", b"here", b"tmpfs", 0, None), "umount": (166, b"/proc", 2),
    "pivot_root": (155, b".", b"here"), "chroot": (161, b"here"), "bpf": (321, 0, bytes(64), 64),
    "keyctl": (250, 0, -3, 1), "add_key": (248, b"user", b"x", b"y", 1, -3),
    "request_key": (249, b"user", b"x", None, 0),
    "perf": (298, bytes(128), 0, -1, -1, 0), "ptrace": (101, 0, 0, 0, 0), "kexec": (246, 0, 0, None, 0),
    "init_module": (175, b"x", 1, b""), "syslog": (103, 3, bytes(64), 64), "userfaultfd": (323, 0),
    "personality": (135, 0x0040000), "open_by_handle": (304, -100, bytes(64), 0),
    "name_to_handle": (303, -100, b".", bytes(64), bytes(8), 0),
    "reboot": (169, 0xfee1dead, 672274793, 0), "swapon": (167, b"x", 0), "sethostname": (170, b"x", 1),
    "settime": (227, 0, bytes(16)), "fsopen": (430, b"tmpfs", 0), "open_tree": (428, -100, b"/", 1),
    "move_mount": (429, -100, b"/", -100, b"here", 0), "mount_setattr": (442, -100, b"/", 0, bytes(32), 32),
    "open_tree_attr": (467, -100, b"/", 1, bytes(32), 32), "pidfd_getfd": (438, 0, 0, 0),
    "memfd": (319, b"x", 0),
    "memfd_secret": (447, 0), "quotactl_fd": (443, 0, 0, 0, None), "acct": (163, b"x"), "iopl": (172, 3),
    "ioperm": (173, 0x70, 2, 1), "modify_ldt": (154, 0, bytes(16), 16), "fanotify": (300, 0, 0),
    "kcmp": (312, 1, 1, 0, 0, 0), "io_setup": (206, 1000, bytes(8)), "process_madvise": (440, 0, None, 0, 0, 0),
}
absent = {
    "io_uring": (425, 8, bytes(120)), "io_uring_enter": (426, 0, 0, 0, 0, None, 0),
    "clone3": (435, bytes(88), 88),
}
return {
    "refused": {name: syscall(*values) for name, values in calls.items()},
    "absent": {name: syscall(*values) for name, values in absent.items()},
}
"""
OTHER_ARCHITECTURES = """
i386 = bytes.fromhex("b8 14000000 cd80 c3".replace(" ", ""))       # mov eax, 20 (getpid); int 0x80; ret
return {
    "x32": outcome_of(lambda: syscall(0x40000000 | 39)),
    "x32 mount": outcome_of(lambda: syscall(0x40000000 | 165, b"none", b"/", b"tmpfs", 0, None)),
    "i386": outcome_of(lambda: machine_code(i386)()),
    "own": outcome_of(lambda: syscall(39)),
}
"""
OTHER_USERS = """
import subprocess
me = os.getresuid()
answers = {name: error_of(lambda: getattr(os, name)(*values)) for name, values in {
    "setuid": (0,), "setgid": (0,), "setresuid": (0, 0, 0), "setreuid": (0, 0), "setgroups": ([0],),
}.items()}
answers["chown"] = error_of(lambda: os.chown(open("mine", "w").name, 0, 0))
answers["still"] = os.getresuid() == me and 0 not in me
status = open("/proc/self/status").read()
sets = ("CapEff", "CapPrm", "CapAmb")
answers["capabilities"] = [line.split()[1] for line in status.splitlines() if line.startswith(sets)]
answers["no_new_privs"] = "NoNewPrivs:\\t1" in status
return answers
"""
TERMINALS = """
return {
    "TIOCSTI": syscall(16, 0, 0x5412, b"x"),
    "TIOCSTI, high bits": syscall(16, 0, 0x5412 | (1 << 32), b"x"),
    "TIOCLINUX": syscall(16, 0, 0x541C, b"x"),
}
"""
HIGHER_LIMITS = """
import resource
answers = {}
for name in ("AS", "CORE", "CPU", "FSIZE", "NOFILE", "NPROC", "STACK", "MSGQUEUE", "SIGPENDING", "MEMLOCK", "RTPRIO", "NICE"):
    kind = getattr(resource, f"RLIMIT_{name}")
    soft, hard = resource.getrlimit(kind)
    try:
        resource.setrlimit(kind, (soft, resource.RLIM_INFINITY))
        answers[name] = "done"
    except (ValueError, OSError) as error:
        answers[name] = "refused"
answers["nice"] = error_of(lambda: os.nice(-5))
answers["scheduler"] = error_of(lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10)))
return answers
"""
UNCOUNTED_MEMORY = """
import mmap
def map_zero():
    with open("/dev/zero", "r+b") as zero:
        mmap.mmap(zero.fileno(), 4096, flags=mmap.MAP_SHARED)
def map_zero_read_only():
    fd = os.open("/dev/zero", os.O_RDONLY)
    mmap.mmap(fd, 4096, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)
private = mmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
private.write(b"x")
return {
    "anonymous": error_of(lambda: mmap.mmap(-1, 4096)),
    "validated": syscall(9, 0, 4096, 3, 0x23, -1, 0),
    "zero": error_of(map_zero),
    "zero, read": error_of(map_zero_read_only),
}
"""
SOCKET_FAMILIES = """
families = {"unix": 1, "inet": 2, "inet6": 10, "netlink": 16, "packet": 17, "alg": 38, "vsock": 40,
            "bluetooth": 31, "xdp": 44, "can": 29, "key": 15}
return {name: syscall(41, family, 1 if family < 15 else 3, 0) for name, family in families.items()}
"""
SOCKET_PROTOCOLS = """
return {
    **{f"netlink {n}": syscall(41, 16, 3, n) for n in (2, 4, 6, 9, 11, 12, 15, 16, 18, 20, 21)},
    **{f"IPv4 {n}": syscall(41, 2, kind, n) for kind, n in ((1, 132), (1, 262), (2, 136), (2, 115), (6, 33), (3, 255))},
}
"""
SHARED_OBJECTS = """
answers = {"mq_open": syscall(240, b"zmesh", 0o102, 0o666, None), "mq_unlink": syscall(241, b"zmesh")}
for name, number in {"shmget": 29, "semget": 64, "msgget": 68}.items():
    answers[name] = syscall(number, 4711, 4096, 0o1666)
others = {"shmat": 30, "shmctl": 31, "semop": 65, "semctl": 66, "semtimedop": 220, "msgsnd": 69, "msgrcv": 70, "msgctl": 71}
for name, number in others.items():
    answers[name] = syscall(number, 0, 0, 0, 0)
return answers
"""

# What stands beneath a root that was covered instead of swapped: every way to it ends at the run's own root.
OLD_ROOT = """
own = os.stat("/")
places, calls = {}, {}

def look(name, path):
    try:
        seen = os.stat(path)
    except OSError as error:
        places[name] = errno.errorcode[error.errno]
    else:
        # A folder is in the old root if it is none of ours, and has what only the old one has.
        old = [marker for marker in payload["only_outside"] if os.path.exists(f"{path}/{marker}")]
        places[name] = f"reached: {old}" if old else "own" if (seen.st_dev, seen.st_ino) == (own.st_dev, own.st_ino) else "other"

up = "/".join([".."] * 40)
for name, start in {"root": "/", "workspace": ".", "proc": "/proc/self", "device": "/dev", "system": "/usr/lib"}.items():
    look(f"{up[:5]} from {name}", f"{start}/{up}")
for pid in ["self", "thread-self", *(name for name in os.listdir("/proc") if name.isdigit())]:
    for link in ("root", "cwd"):
        look(f"{pid} {link}", f"/proc/{pid}/{link}")
        look(f"{pid} {link} up", f"/proc/{pid}/{link}/{up}")
for fd in range(256):
    if os.path.exists(f"/proc/self/fd/{fd}"):
        look(f"descriptor {fd}", f"/proc/self/fd/{fd}")
        look(f"descriptor {fd} up", f"/proc/self/fd/{fd}/{up}")
here = os.open(".", os.O_RDONLY)
calls["fchdir and chroot"] = syscall(161, b"/proc")
os.makedirs("jail", exist_ok=True)
calls["second chroot"] = syscall(161, b"jail")
os.fchdir(here)
os.chdir(up)
look("after a second chroot", ".")
os.fchdir(here)
calls["unmount of the root"] = syscall(166, b"/", 2)
calls["move of the root"] = syscall(165, b"/", b"jail", None, 8192, None)
calls["bind of the root"] = syscall(165, b"/", b"jail", None, 4096, None)
calls["pivot_root"] = syscall(155, b"/", b"/")
calls["open_tree"] = syscall(428, -100, b"/", 1)
calls["file handle"] = syscall(304, -100, bytes(64), 0)
calls["mount namespace"] = syscall(308, os.open("/proc/self/ns/mnt", os.O_RDONLY), 0x20000)
calls["user and mount namespace"] = syscall(272, 0x10020000)
look("in the end", "/")
return {"places": places, "calls": calls, "mounts": open("/proc/self/mountinfo").read()}
"""
