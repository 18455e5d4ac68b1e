"""Nothing of the platform, and nothing of another run, can be read from a run."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox import attacks
from tests.sandbox.attacks import python
from tests.sandbox.hosts import PLATFORM_SECRET, REPOSITORY, Host, wait_until

WAITING = {
    "python": """
import os, time
secret = "secret-of-a-neighbour"
open("mine.txt", "w").write(secret)
open("tmp/mine.txt", "w").write(secret)
while not os.path.exists("stop"):
    time.sleep(0.05)
return "lived"
""",
}


def attack(host: Host, body: str, payload: str = "{}", **options: Any) -> Any:
    return host.value("python", python(body), payload, whole=True, **options)


def test_the_environment_is_the_runs_own(host: Host, language: str) -> None:
    body = {
        "python": "import os\nreturn dict(os.environ)",
        "javascript": "return process.env;",
    }[language]

    environment = host.value(language, body, env={"GREETING": "Hello"})

    assert environment.pop("GREETING") == "Hello"
    assert set(environment) <= {"PATH", "HOME", "TMPDIR", "LANG", "MALLOC_ARENA_MAX", "LC_CTYPE", "NODE_PATH"}
    assert PLATFORM_SECRET not in str(environment)


def test_no_process_of_the_platform_can_be_looked_into(host: Host) -> None:
    found = attack(
        host,
        """
        seen = []
        pids = [int(name) for name in payload["pids"]] + list(range(1, 40))
        for pid in pids:
            if pid == os.getpid():
                continue
            for name in ("environ", "mem", "maps", "auxv", "syscall", "stack"):
                try:
                    data = open(f"/proc/{pid}/{name}", "rb").read(64)
                    seen.append([pid, name, repr(data)])
                except OSError:
                    pass
            for name in ("cwd", "root", "exe"):
                try:
                    seen.append([pid, name, os.readlink(f"/proc/{pid}/{name}")])
                except OSError:
                    pass
            try:
                seen.append([pid, "fd", os.listdir(f"/proc/{pid}/fd")])
            except OSError:
                pass
        return [entry for entry in seen if entry[2] not in ("", "b''")]
        """,
        f'{{"pids": [{host.process.pid}, {os.getpid()}, {host.state()["template"]}, {os.getppid()}]}}',
    )

    assert found == []


def test_the_memory_of_its_own_process_holds_no_secret_of_the_platform(host: Host) -> None:
    found = attack(
        host,
        """
        import re
        secret = re.compile(payload.encode())  # a pattern that does not find itself
        found = []
        with open("/proc/self/maps") as maps, open("/proc/self/mem", "rb", 0) as memory:
            for line in maps:
                start, end, mode = re.match("([0-9a-f]+)-([0-9a-f]+) (....)", line).groups()
                if mode[0] == "r" and "[v" not in line:
                    memory.seek(int(start, 16))
                    for _ in range(int(start, 16), int(end, 16), 1 << 20):
                        try:
                            found += secret.findall(memory.read(1 << 20))
                        except OSError:
                            break
        return len(found)
        """,
        f'"{PLATFORM_SECRET[:-1]}[{PLATFORM_SECRET[-1]}]"',
    )

    assert found == 0


def test_a_run_sees_no_process_but_its_own(host: Host) -> None:
    pids = attack(
        host,
        """
        try:
            return [pid for pid in os.listdir("/proc") if pid.isdigit()]
        except PermissionError:
            return "denied"
        """,
    )

    if host.mode == "process":
        assert pids == "denied"
    else:
        assert len(pids) == 2, "the supervisor and itself"


def test_it_holds_no_descriptors_but_its_own(host: Host, language: str) -> None:
    body = {
        "python": """
import os
kinds = {}
for fd in range(300):
    try:
        kinds[fd] = os.readlink(f"/proc/self/fd/{fd}").partition(":")[0]
    except OSError:
        pass
return kinds
""",
        "javascript": """
const fs = require("fs"), kinds = {};
for (const fd of fs.readdirSync("/proc/self/fd")) {
  try { kinds[fd] = fs.readlinkSync(`/proc/self/fd/${fd}`).split(":")[0]; } catch {}
}
return kinds;
""",
    }[language]

    kinds = host.value(language, body)

    assert {fd: kinds[fd] for fd in "0123"} == {"0": "/dev/null", "1": "pipe", "2": "pipe", "3": "socket"}
    others = {fd: kind for fd, kind in kinds.items() if fd not in "0123"}
    assert set(others.values()) <= {"anon_inode", "/dev/null", "/dev/urandom", "pipe"}
    if language == "python":
        assert others == {}


def test_a_neighbour_can_be_neither_traced_nor_read_nor_signalled(host: Host) -> None:
    victim = host.begin("python", WAITING["python"])
    try:
        answers = attack(
            host,
            """
            import struct
            answers = {
                ("setpriority of the user", syscall(141, 2, 0, 19)),
                ("ioprio_set of the user", syscall(251, 3, os.getuid() or 1, 3 << 13)),
            }
            for pid in set(payload["pids"]) - {os.getpid()}:
                answers.add(("ptrace", syscall(101, 16, pid, 0, 0)))
                answers.add(("process_vm_readv", syscall(310, pid, 0, 0, 0, 0, 0)))
                answers.add(("process_vm_writev", syscall(311, pid, 0, 0, 0, 0, 0)))
                answers.add(("prlimit", syscall(302, pid, 0, struct.pack("QQ", 1, 1), 0)))
                answers.add(("sched_setscheduler", syscall(144, pid, os.SCHED_IDLE, bytes(4))))
                answers.add(("sched_setattr", syscall(314, pid, struct.pack("IIQiIQQQ", 48, 5, 0, 0, 0, 0, 0, 0), 0)))
                answers.add(("sched_setparam", syscall(142, pid, bytes(4))))
                answers.add(("sched_setaffinity", syscall(203, pid, 8, struct.pack("Q", 1))))
                answers.add(("setpriority", syscall(141, 0, pid, 19)))
                answers.add(("ioprio_set", syscall(251, 1, pid, 3 << 13)))
                for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM, 40):
                    answers.add(("kill", error_of(lambda: os.kill(pid, number))))
            return sorted(map(list, answers))
            """,
            f'{{"pids": {[host.process.pid, host.state()["template"], *_runs_of(host)]}}}',
        )
        assert not victim.done()
    finally:
        host.cancel(victim)

    assert victim.result(20).status == "cancelled"
    for name, answer in answers:
        assert answer == "EPERM" or (name.startswith("kill") and answer == "ESRCH"), (name, answer)


def _runs_of(host: Host) -> list[int]:
    from tests.processes import descendants

    return descendants(host.process.pid)


@pytest.fixture
def file_of_the_platform() -> Iterator[Path]:
    """A file that an administrator forgot to protect, beside the platform."""
    folder = Path(tempfile.mkdtemp(prefix="zmesh-platform-"))
    folder.chmod(0o755)
    (folder / ".env").write_text("JWT_SECRET_KEY=x\n")
    (folder / ".env").chmod(0o644)
    yield folder / ".env"
    shutil.rmtree(folder)


def test_files_of_the_platform_and_the_machine_cannot_be_read(
    host: Host, language: str, file_of_the_platform: Path
) -> None:
    body = {
        "python": """
import errno
answers = {}
for path in payload:
    try:
        answers[path] = open(path).read()[:40]
    except OSError as error:
        answers[path] = errno.errorcode[error.errno]
return answers
""",
        "javascript": """
const answers = {};
for (const path of payload) {
  try { answers[path] = require("fs").readFileSync(path, "utf8").slice(0, 40); }
  catch (error) { answers[path] = error.code; }
}
return answers;
""",
    }[language]
    paths = [
        file_of_the_platform,
        REPOSITORY / "pyproject.toml",
        REPOSITORY / "listener" / "settings.py",
        "/etc/shadow",
        "/etc/hostname",
        Path("~root/.bashrc").expanduser(),
        "/proc/sysrq-trigger",
        "/proc/kmsg",
        "/proc/1/environ",
        "/sys/kernel/notes",
        "/dev/mem",
        "/dev/tty",
        "/dev/shm/x",
        f"/proc/{host.process.pid}/environ",
        f"/proc/{os.getpid()}/cmdline",
    ]

    answers = host.value(language, body, str([str(path) for path in paths]).replace("'", '"'))

    assert set(answers.values()) <= {"EACCES", "ENOENT", "EPERM", "EIO", "ENXIO"}, answers


def test_a_hidden_folder_cannot_be_read(host: Host, hidden_folder: Path) -> None:
    """Though it is inside one that functions need."""
    answers = host.value(
        "python",
        """
        import os
        def look(what):
            try:
                return what()
            except OSError as error:
                return type(error).__name__
        import decimal, psycopg
        folder = payload
        return [look(lambda: open(folder + "/secrets.env").read()), look(lambda: os.listdir(folder)), psycopg.__name__]
        """,
        f'"{hidden_folder}"',
    )

    assert answers[0] in ("FileNotFoundError", "PermissionError")
    assert answers[1] in ([], "FileNotFoundError", "PermissionError")
    assert answers[2] == "psycopg"


def test_files_of_another_run_and_of_an_earlier_one_are_not_there(host: Host) -> None:
    victim = host.begin("python", WAITING["python"])
    try:
        found = attack(
            host,
            """
            found = []
            for folder in ("/tmp", "/var/tmp", "/dev/shm", os.path.dirname(os.getcwd()).rstrip("/") + "/", payload):
                if folder == "/":
                    continue  # the root of runs alone
                for current, folders, files in os.walk(folder):
                    found += [f"{current}/{name}" for name in files if name == "mine.txt"]
                for run in range(200):
                    try:
                        found.append(open(f"{payload}/run-{run}/mine.txt").read())
                    except OSError:
                        pass
            open("mine.txt", "w").write("of an earlier run")
            return found
            """,
            f'"{host.run_dir}"',
        )
        again = attack(host, "return os.path.exists('mine.txt')")
    finally:
        host.cancel(victim)
    victim.result(20)

    assert found == []
    assert again is False


def test_sockets_and_shared_memory_of_others_are_out_of_reach(host: Host) -> None:
    """Abstract sockets have no permissions; System V and POSIX objects outlive a run."""
    import socket

    name = f"\0zmesh-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(name)
        server.listen()
        answers = attack(
            host,
            """
            import socket
            def connect():
                socket.socket(socket.AF_UNIX).connect("\\0" + payload)
            return error_of(connect)
            """,
            f'"{name[1:]}"',
        )

    assert answers == "EPERM"
    assert set(attack(host, attacks.SHARED_OBJECTS).values()) == {"EPERM"}


def test_a_parked_process_knows_nothing_of_earlier_runs(host: Host) -> None:
    """Each is used once: what a run leaves in its modules is gone."""
    first = host.value("python", "import json, os\njson.leak = 'secret'\nos.environ['LEAK'] = 'x'\nreturn os.getpid()")
    seen = [
        host.value("python", "import json, os\nreturn [hasattr(json, 'leak'), 'LEAK' in os.environ]") for _ in range(6)
    ]

    assert first
    assert seen == [[False, False]] * 6


def test_two_runs_draw_different_random_numbers(host: Host, language: str) -> None:
    body = {
        "python": "import random, uuid, os\nreturn [random.random(), str(uuid.uuid4()), os.urandom(8).hex()]",
        "javascript": "return [Math.random(), crypto.randomUUID(), require('crypto').randomBytes(8).toString('hex')];",
    }[language]

    draws = [host.value(language, body) for _ in range(5)]

    for column in zip(*draws, strict=True):
        assert len(set(column)) == 5


def test_the_supervisor_is_out_of_reach(host: Host) -> None:
    answers = attack(
        host,
        """
        parent = os.getppid()
        return {
            "kill": error_of(lambda: os.kill(parent, signal.SIGKILL)) if parent > 1 else
                    error_of(lambda: os.kill(1, signal.SIGKILL)),
            "stop": error_of(lambda: os.kill(max(parent, 1), signal.SIGSTOP)),
            "memory": error_of(lambda: open(f"/proc/{max(parent, 1)}/mem", "rb")),
            "environ": error_of(lambda: open(f"/proc/{max(parent, 1)}/environ", "rb").read()),
            "descriptors": error_of(lambda: os.listdir(f"/proc/{max(parent, 1)}/fd")),
            "parent": os.getppid() == parent,
        }
        """,
    )

    assert answers.pop("parent")
    assert set(answers.values()) <= {"EPERM", "EACCES", "ENOENT"}, answers
    wait_until(lambda: host.state()["template"] is not None)
