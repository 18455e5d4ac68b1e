"""No way out of a run: each attempt ends with the expected error, and the machine is as before."""

from __future__ import annotations

import os
import platform
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox.attacks import python
from tests.sandbox.hosts import Host

X86_64 = pytest.mark.skipif(platform.machine() != "x86_64", reason="numbers and machine code of x86_64")


def attack(host: Host, body: str, payload: str = "{}", **options: Any) -> Any:
    return host.value("python", python(body), payload, whole=True, **options)


@X86_64
def test_system_calls_that_lead_out_are_refused(host: Host) -> None:
    answers = attack(
        host,
        """
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
        """,
    )

    assert {name: answer for name, answer in answers["refused"].items() if answer != "EPERM"} == {}
    assert set(answers["absent"].values()) == {"ENOSYS"}


@X86_64
def test_calls_of_another_architecture_end_the_process(host: Host) -> None:
    """Numbers mean something else there: 165 is mount(2) for x86_64 and getresuid(2) for i386."""
    endings = attack(
        host,
        """
        i386 = bytes.fromhex("b8 14000000 cd80 c3".replace(" ", ""))       # mov eax, 20 (getpid); int 0x80; ret
        return {
            "x32": ending_of(lambda: syscall(0x40000000 | 39)),
            "x32 mount": ending_of(lambda: syscall(0x40000000 | 165, b"none", b"/", b"tmpfs", 0, None)),
            "i386": ending_of(lambda: machine_code(i386)()),
            "own": ending_of(lambda: syscall(39)),
        }
        """,
    )

    assert endings == {"x32": signal.SIGSYS, "x32 mount": signal.SIGSYS, "i386": signal.SIGSYS, "own": -7}


def test_no_way_to_another_user(host: Host) -> None:
    answers = attack(
        host,
        """
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
        """,
    )

    assert answers.pop("still")
    assert answers.pop("no_new_privs")
    assert set(answers.pop("capabilities")) == {"0" * 16}
    assert set(answers.values()) <= {"EPERM", "EINVAL"}, answers  # EINVAL: root does not exist in the user namespace


def test_a_set_uid_program_gives_nothing(host: Host) -> None:
    program = next((path for path in ("/usr/bin/su", "/bin/su", "/usr/bin/passwd") if os.path.exists(path)), None)
    if program is None:
        pytest.skip("this machine has no set-uid program")

    answer = attack(
        host,
        """
        import subprocess, shutil
        shutil.copy("/bin/sh", "shell")
        os.chmod("shell", 0o6755)
        own = subprocess.run(["./shell", "-p", "-c", "id -u"], capture_output=True, text=True).stdout.strip()
        su = subprocess.run([payload, "-c", "id -u", "root"], capture_output=True, text=True, stdin=subprocess.DEVNULL)
        return [own, su.stdout, su.returncode != 0]
        """,
        f'"{program}"',
    )

    assert answer[0] != "0"
    assert answer[1] in ("", "root\n") or "0" not in answer[1].split()
    assert answer[2]


def test_nothing_but_the_workspace_can_be_written(host: Host, language: str) -> None:
    targets = [
        "/usr/bin/zmesh-was-here", "/etc/passwd", "/lib/zmesh-was-here", "/zmesh-was-here", "/var/zmesh-was-here",
        "/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger", "/proc/self/oom_score_adj_", "/sys/fs/cgroup/zmesh",
        "/sys/kernel/uevent_helper", "/dev/zmesh-was-here", str(Path(__file__).parents[2] / "sdk" / "zmesh-was-here"),
        str(Path(shutil.__file__).parent / "zmesh_was_here.py"), str(host.run_dir / "zmesh-was-here"),
    ]  # fmt: skip
    body = {
        "python": """
import errno, os
answers = {}
for path in payload:
    for what, attempt in (("write", lambda: open(path, "a").write("x")), ("mkdir", lambda: os.mkdir(path + ".d")),
                          ("remove", lambda: os.unlink(path)), ("link", lambda: os.symlink("/", path + ".l"))):
        try:
            attempt()
            answers[f"{what} {path}"] = "done"
        except OSError as error:
            answers[f"{what} {path}"] = errno.errorcode[error.errno]
return answers
""",
        "javascript": """
const fs = require("fs"), answers = {};
for (const path of payload)
  for (const [what, attempt] of [
    ["write", () => fs.appendFileSync(path, "x")], ["mkdir", () => fs.mkdirSync(path + ".d")],
    ["remove", () => fs.unlinkSync(path)], ["link", () => fs.symlinkSync("/", path + ".l")],
  ]) {
    try { attempt(); answers[`${what} ${path}`] = "done"; }
    catch (error) { answers[`${what} ${path}`] = error.code; }
  }
return answers;
""",
    }[language]

    answers = host.value(language, body, str(targets).replace("'", '"'))

    assert len(answers) == 4 * len(targets)
    assert {
        key: value for key, value in answers.items() if value not in ("EACCES", "EROFS", "EPERM", "ENOENT", "EXDEV")
    } == {}


def test_links_lead_nowhere(host: Host) -> None:
    answers = attack(
        host,
        """
        os.symlink("/etc/shadow", "link")
        os.symlink(payload, "folder")
        os.symlink("/proc/1/root", "root")
        return {
            "read": error_of(lambda: open("link").read()),
            "list": error_of(lambda: os.listdir("folder")),
            "root": error_of(lambda: os.listdir("root/")),
            "hard link": error_of(lambda: os.link("/usr/bin/env", "env")),
            "write": error_of(lambda: open("folder/zmesh-was-here", "w")),
        }
        """,
        f'"{Path(__file__).parent}"',
    )

    assert set(answers.values()) <= {"EACCES", "ENOENT", "EPERM", "EROFS", "EXDEV"}, answers


def test_removing_a_workspace_follows_no_link(kind: str, host: Host, tmp_path: Path) -> None:
    """The process that removes it may do more than the run could."""
    folder = Path("/tmp") / f"zmesh-victim-{os.getpid()}-{kind}"
    folder.mkdir(mode=0o755)
    (folder / "kept").write_text("x")
    if host.user is not None:
        os.chown(folder, host.user, host.user)
    folder.chmod(0o751)

    host.value(
        "python", "import os\nos.symlink(payload, 'link')\nos.symlink(payload, 'tmp/link')\nreturn 1", f'"{folder}"'
    )
    host.assert_clean()

    assert oct(folder.stat().st_mode & 0o777) == "0o751"
    assert (folder / "kept").exists()
    shutil.rmtree(folder)


@X86_64
def test_a_terminal_cannot_be_typed_into(host: Host) -> None:
    answers = attack(
        host,
        """
        return {
            "TIOCSTI": syscall(16, 0, 0x5412, b"x"),
            "TIOCSTI, high bits": syscall(16, 0, 0x5412 | (1 << 32), b"x"),
            "TIOCLINUX": syscall(16, 0, 0x541C, b"x"),
        }
        """,
    )

    assert set(answers.values()) == {"EPERM"}


def test_limits_cannot_be_raised(host: Host) -> None:
    answers = attack(
        host,
        """
        import resource
        answers = {}
        for name in ("AS", "CORE", "CPU", "FSIZE", "NOFILE", "NPROC", "STACK", "MSGQUEUE", "MEMLOCK", "RTPRIO", "NICE"):
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
        """,
    )

    assert {name for name, answer in answers.items() if answer not in ("refused", "EPERM", "EACCES")} == set()


@X86_64
def test_memory_that_no_process_holds_is_refused(host: Host) -> None:
    """A shared mapping keeps its pages after they were unmapped, where no limit counts them."""
    answers = attack(
        host,
        """
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
        """,
    )

    assert set(answers.values()) <= {"EPERM", "ENODEV", "EACCES"}, answers


@X86_64
def test_only_the_internets_and_local_sockets_can_be_made(host: Host) -> None:
    answers = attack(
        host,
        """
        families = {"unix": 1, "inet": 2, "inet6": 10, "netlink": 16, "packet": 17, "alg": 38, "vsock": 40,
                    "bluetooth": 31, "xdp": 44, "can": 29, "key": 15}
        return {name: syscall(41, family, 1 if family < 15 else 3, 0) for name, family in families.items()}
        """,
    )

    assert {answers.pop(name) for name in ("unix", "inet", "netlink")} == {"done"}
    assert answers.pop("inet6") in ("done", "EAFNOSUPPORT")  # a machine without IPv6
    assert set(answers.values()) == {"EAFNOSUPPORT"}


def test_the_kernels_own_files_tell_no_addresses(host: Host) -> None:
    answers = attack(
        host,
        """
        try:
            lines = open("/proc/kallsyms").read(400).splitlines()
        except OSError:
            return []
        return [line for line in lines if not line.startswith("0000000000000000")][:2]
        """,
    )

    assert [line for line in answers if len(line.split()) == 3] == []
