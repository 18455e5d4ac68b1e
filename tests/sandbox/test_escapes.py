"""No way out of a run: each attempt ends with the expected error, and the machine is as before."""

from __future__ import annotations

import json
import os
import platform
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from cli.platform.processes import ephemeral_ports
from sandbox.confinement.kernel import landlock_version
from sandbox.confinement.landlock import PORTS_SINCE
from tests.sandbox import attacks
from tests.sandbox.attacks import python
from tests.sandbox.conftest import KINDS
from tests.sandbox.hosts import REPOSITORY, Host

X86_64 = pytest.mark.skipif(platform.machine() != "x86_64", reason="numbers and machine code of x86_64")


def attack(host: Host, body: str, payload: str = "{}", **options: Any) -> Any:
    return host.value("python", python(body), payload, whole=True, **options)


@X86_64
def test_system_calls_that_lead_out_are_refused(host: Host) -> None:
    answers = attack(host, attacks.SYSTEM_CALLS_OUT)

    assert {name: answer for name, answer in answers["refused"].items() if answer != "EPERM"} == {}
    assert set(answers["absent"].values()) == {"ENOSYS"}


@X86_64
def test_calls_of_another_architecture_end_the_process(host: Host) -> None:
    """Numbers mean something else there: 165 is mount(2) for x86_64 and getresuid(2) for i386."""
    endings = attack(host, attacks.OTHER_ARCHITECTURES)

    assert endings == {"x32": signal.SIGSYS, "x32 mount": signal.SIGSYS, "i386": signal.SIGSYS, "own": -7}


def test_a_run_cannot_become_another_user(host: Host) -> None:
    answers = attack(host, attacks.OTHER_USERS)

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


@X86_64
def test_nothing_leads_to_the_root_beneath(kind: str, host: Host) -> None:
    """Where pivot_root(2) is refused, as in containers, the machine's root stays mounted under that of the runs."""
    if KINDS[kind][0] == "process":
        pytest.skip("there is one root for all")
    only_outside = [name for name in ("boot", "home", "opt", "srv", "sys", ".dockerenv") if Path("/", name).exists()]

    seen = attack(host, attacks.OLD_ROOT, json.dumps({"only_outside": only_outside}))

    assert only_outside
    assert {name: place for name, place in seen["places"].items() if place.startswith("reached")} == {}
    assert seen["places"]["in the end"] == "own"
    assert set(seen["calls"].values()) == {"EPERM"}, seen["calls"]
    assert len(seen["mounts"].splitlines()) < 60
    assert str(REPOSITORY / "tests") not in seen["mounts"]


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
    answers = attack(host, attacks.TERMINALS)

    assert set(answers.values()) == {"EPERM"}


def test_limits_cannot_be_raised(host: Host) -> None:
    answers = attack(host, attacks.HIGHER_LIMITS)

    assert {name for name, answer in answers.items() if answer not in ("refused", "EPERM", "EACCES")} == set()


@X86_64
def test_memory_that_no_process_holds_is_refused(host: Host) -> None:
    """A shared mapping keeps its pages after they were unmapped, where no limit counts them."""
    answers = attack(host, attacks.UNCOUNTED_MEMORY)

    assert set(answers.values()) <= {"EPERM", "ENODEV", "EACCES"}, answers


@X86_64
def test_only_the_internets_and_local_sockets_can_be_made(host: Host) -> None:
    answers = attack(host, attacks.SOCKET_FAMILIES)

    assert {answers.pop(name) for name in ("unix", "inet", "netlink")} == {"done"}
    assert answers.pop("inet6") in ("done", "EAFNOSUPPORT")  # a machine without IPv6
    assert set(answers.values()) == {"EAFNOSUPPORT"}


def test_pairs_of_sockets_are_local_ones(host: Host) -> None:
    """Of another family, the kernel would load its module before it refuses."""
    body = """
    import socket
    libc = ctypes.CDLL(None, use_errno=True)
    return [errno.errorcode[ctypes.get_errno()] for family in (2, 10, 16, 30) if libc.socketpair(family, 1, 0, bytes(8)) < 0]
    """
    assert attack(host, body) == ["EAFNOSUPPORT"] * 4
    assert attack(host, "import socket\nsocket.socketpair()[0].close()\nreturn 1") == 1


@X86_64
def test_protocols_that_functions_do_not_need_are_not_there(host: Host) -> None:
    assert set(attack(host, attacks.SOCKET_PROTOCOLS).values()) == {"EPROTONOSUPPORT"}


PORTS = """
import socket, struct
V4, V6 = ("127.0.0.1", "0.0.0.0"), ("::1", "::", "::ffff:127.0.0.1")

def listening(host, port, *, reuse=False):
    def attempt():
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as server:
            if reuse:
                server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            server.bind((host, port))
            server.listen()
    return error_of(attempt)

def narrowed(family, port):
    def attempt():
        with socket.socket(family) as server:
            server.setsockopt(socket.IPPROTO_IP, 51, struct.pack("=I", port << 16 | port))  # IP_LOCAL_PORT_RANGE
    return error_of(attempt)

taken = [listening(host, port, reuse=reuse) for host in V4 + V6 for port in payload for reuse in (False, True)]
return {
    "taken": sorted({answer for answer in taken if answer not in ("EADDRNOTAVAIL", "EAFNOSUPPORT")}),
    "of the kernel's choice": listening("127.0.0.1", 0),
    "without bind": error_of(lambda: socket.socket().listen()),
    "of a range of one": [narrowed(family, payload[-1]) for family in (socket.AF_INET, socket.AF_INET6)],
}
"""


def test_a_run_cannot_listen_on_the_port_of_a_server_that_is_down(host: Host) -> None:
    if landlock_version() < PORTS_SINCE:
        pytest.skip("this kernel cannot restrict ports, which is a gap that the sandbox tells")
    low, high = ephemeral_ports()

    answers = attack(host, PORTS, f"[5432, 8700, 1024, 65535, {low}, {high}]")

    assert answers == {
        "taken": ["EACCES"],
        "of the kernel's choice": "done",
        "without bind": "done",
        "of a range of one": ["ENOPROTOOPT", "ENOPROTOOPT"],
    }


def test_a_server_in_javascript_gets_a_port_of_the_kernels_choice_only(host: Host) -> None:
    if landlock_version() < PORTS_SINCE:
        pytest.skip("this kernel cannot restrict ports, which is a gap that the sandbox tells")

    answers = host.value(
        "javascript",
        """
        const listen = (port) => new Promise((resolve) => {
          const server = require('net').createServer();
          server.on('error', (error) => resolve(error.code));
          server.listen(port, '127.0.0.1', () => server.close(() => resolve('done')));
        });
        return [await listen(5432), await listen(8700), await listen(0)];
        """,
    )

    assert answers == ["EACCES", "EACCES", "done"]


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
