"""Whatever is killed, nothing is left behind, and what goes on working does."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sandbox import Limits
from tests.processes import children_of, descendants
from tests.sandbox.hosts import Host, Installation, has_ended, name_of, wait_until

LONG = Limits(timeout_ms=60_000)
DAEMON = """
import ctypes, os, time
ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)
open("begun", "w").close()
for _ in range(3):
    if os.fork() == 0:
        ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)
        os.setsid()
        break
time.sleep(50)
"""


@pytest.fixture(scope="module")
def hosts_of_module() -> Iterator[dict[str, Host]]:
    hosts: dict[str, Host] = {}
    yield hosts
    for host in hosts.values():
        if host.process.poll() is None:
            host.close()


@pytest.fixture
def own_host(kind: str, make_host: Callable[[str], Host], hosts_of_module: dict[str, Host]) -> Host:
    """A sandbox of these tests, which may break and end it: the next one has another then."""
    if kind not in hosts_of_module or hosts_of_module[kind].process.poll() is not None:
        hosts_of_module[kind] = make_host(kind)
    return hosts_of_module[kind]


def _busy(host: Host, count: int) -> bool:
    return len(descendants(host.process.pid)) >= count


def _all_gone(pids: list[int]) -> bool:
    return all(has_ended(pid) for pid in pids)


def test_killing_the_process_that_holds_the_sandbox_ends_all(own_host: Host) -> None:
    idle = len(descendants(own_host.process.pid))
    own_host.begin("python", DAEMON, limits=LONG)
    own_host.begin("javascript", "await new Promise((resolve) => setTimeout(resolve, 50000));", limits=LONG)
    wait_until(lambda: _busy(own_host, idle + 4))
    pids = descendants(own_host.process.pid)

    own_host.kill()

    wait_until(lambda: _all_gone(pids), why=lambda: [(pid, name_of(pid)) for pid in pids])


def test_a_later_sandbox_removes_what_a_crashed_one_has_left(
    kind: str, installation_of: Callable[[str], Installation]
) -> None:
    if kind not in ("process", "process_of_user"):
        pytest.skip("workspaces go with their namespace")
    from tests.sandbox.conftest import KINDS

    installation = installation_of(kind)
    run_dir = Path(tempfile.mkdtemp(prefix="zmesh-test-run-"))
    if installation.user is not None:
        os.chown(run_dir, installation.user, installation.user)
    try:
        first = Host(KINDS[kind][0], installation, run_dir)
        first.begin("python", DAEMON, limits=LONG)
        wait_until(lambda: len(list(run_dir.glob("run-*/begun"))) == 1)
        pids = descendants(first.process.pid)
        own_users = [pid for pid in pids if os.stat(f"/proc/{pid}").st_uid != (installation.user or 0)]
        for pid in [first.process.pid, *pids]:
            os.kill(pid, signal.SIGSTOP)
        for pid in [*reversed(pids), first.process.pid]:
            if pid not in own_users:
                os.kill(pid, signal.SIGKILL)
        first.kill()
        for pid in own_users:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        assert list(run_dir.glob("run-*"))

        second = Host(KINDS[kind][0], installation, run_dir)
        wait_until(lambda: _all_gone(pids), why=lambda: [(pid, name_of(pid)) for pid in pids])
        second.assert_clean()
        second.close()
        assert list(run_dir.glob("run-*")) == []
    finally:
        shutil.rmtree(run_dir)


def test_killing_the_template_fails_its_runs_and_no_others(own_host: Host) -> None:
    run = own_host.begin("python", DAEMON, limits=LONG)
    wait_until(lambda: own_host.state()["runs"] == 1)
    own_host.value("python", "return 1")
    template = own_host.state()["template"]
    pids = descendants(template)

    os.kill(template, signal.SIGKILL)
    outcome = run.result(20)

    assert outcome.status == "error"
    assert outcome.error is not None
    assert outcome.error.type == "sandbox_failed"
    wait_until(lambda: own_host.state()["template"] not in (template, None))
    assert [own_host.value("python", "return 1") for _ in range(6)] == [1] * 6
    assert own_host.value("javascript", "return 1;") == 1
    wait_until(lambda: _all_gone(pids), why=lambda: [(pid, name_of(pid)) for pid in pids])
    own_host.assert_clean()


def test_runs_wait_for_a_template_that_starts_again(own_host: Host) -> None:
    os.kill(own_host.state()["template"], signal.SIGKILL)
    wait_until(lambda: own_host.state()["parked"] == 0)

    runs = [own_host.begin("python", "return 1") for _ in range(8)]

    assert [run.result(20).result_json for run in runs] == ["1"] * 8
    own_host.assert_clean()


def test_killing_the_program_that_makes_supervisors_fails_no_later_run(own_host: Host) -> None:
    makers = [pid for pid in descendants(own_host.process.pid) if name_of(pid).startswith("supervisor")]
    if not makers:
        pytest.skip("only runs that are forked have supervisors of a program's")
    template = own_host.state()["template"]

    os.kill(makers[0], signal.SIGKILL)
    wait_until(lambda: own_host.state()["template"] not in (template, None))

    assert [own_host.value("python", "return 1") for _ in range(6)] == [1] * 6
    assert own_host.value("javascript", "return 1;") == 1
    own_host.assert_clean()


def test_killing_a_supervisor_ends_its_run_alone(own_host: Host) -> None:
    idle = set(descendants(own_host.process.pid))
    victim = own_host.begin("python", DAEMON.replace("50", "40"), limits=LONG)
    wait_until(lambda: own_host.state()["runs"] == 1)
    own_host.value("python", "return 1")
    before = own_host.state()["slots_taken"]
    supervisors = [pid for pid in idle if name_of(pid).startswith("zmesh-run") and _is_supervisor_of(pid, idle)]

    for pid in supervisors:
        with contextlib.suppress(ProcessLookupError):  # the one whose run has ended meanwhile
            os.kill(pid, signal.SIGKILL)
    outcome = victim.result(20)
    wait_until(lambda: _all_gone(supervisors))

    assert before
    assert outcome.error is not None
    assert outcome.error.type == "sandbox_failed"
    own_host.assert_clean()


def _is_supervisor_of(pid: int, pids: set[int]) -> bool:
    return any(child in pids for child in children_of(pid)) or bool(children_of(pid))


def test_a_terminals_interrupt_does_not_reach_the_runs(own_host: Host) -> None:
    """Ctrl-C goes to the whole foreground group; the platform decides what becomes of its runs."""
    own_host.assert_clean()
    pids = descendants(own_host.process.pid)

    assert pids
    for pid in pids:
        assert os.getpgid(pid) != os.getpgid(own_host.process.pid)


def test_closing_ends_what_runs(own_host: Host) -> None:
    own_host.begin("python", DAEMON, limits=LONG)
    wait_until(lambda: own_host.state()["runs"] == 1)
    own_host.value("python", "return 1")
    pids = descendants(own_host.process.pid)

    own_host.close()

    assert own_host.process.returncode == 0, own_host.said()
    wait_until(lambda: _all_gone(pids), why=lambda: [(pid, name_of(pid)) for pid in pids])
    assert list(own_host.run_dir.glob("run-*")) == []


def test_closing_takes_no_time(own_host: Host) -> None:
    import time

    started = time.monotonic()

    own_host.close()

    assert time.monotonic() - started < 4


def test_a_run_whose_awaiting_task_is_cancelled_ends_too(host: Host) -> None:
    """At any moment: while its process is made, while it waits for a slot, while it runs."""
    for _ in range(10):
        runs = [host.begin("python", "import time\ntime.sleep(30)", limits=LONG) for _ in range(8)]
        for run in runs:
            host.abandon(run)


def test_two_sandboxes_do_not_share_a_folder(installation_of: Callable[[str], Installation], tmp_path: Path) -> None:
    from tests.sandbox.hosts import CannotTest

    kind = "root" if os.geteuid() == 0 else "user_namespace"
    first = Host(kind, installation_of(kind), tmp_path)

    with pytest.raises(CannotTest, match="another sandbox"):
        Host(kind, installation_of(kind), tmp_path)
    first.close()


def test_nothing_leaks_over_many_runs(host: Host) -> None:
    """ZMESH_SOAK=20000 makes it that many."""
    count = int(os.environ.get("ZMESH_SOAK", "60"))
    bodies = [
        ("python", "return payload"),
        ("javascript", "return payload;"),
        ("python", "import os\nos._exit(1)"),
        ("python", "raise ValueError('x')"),
        ("python", "import os, time\nfor _ in range(5):\n    os.fork()\nreturn 1"),
        ("python", "import os\nfor n in range(50):\n    os.write(1, b'x' * 10000)\nos.makedirs('a/b/c')"),
        ("python", "print('x')\nimport time\ntime.sleep(0.01)"),
        ("javascript", "console.log('x'); process.exit(3);"),
        ("javascript", "throw new TypeError('x');"),
        ("python", "return 'x' * 1000000"),
    ]
    host.assert_clean()
    before, mounts = host.state(), _mounts(host)
    memory = _memory(host)
    waiting = []
    for number in range(count):
        language, body = bodies[number % len(bodies)]
        waiting.append(host.begin(language, body, "[1]", limits=Limits(timeout_ms=30_000)))
        while len(waiting) > 8:
            waiting.pop(0).result(60)
    for run in waiting:
        assert run.result(60).status in ("success", "error")
    host.assert_clean()
    after = host.state()

    assert after["descriptors"] <= before["descriptors"] + 2 * (after["parked"] - before["parked"]) * 2
    assert after["tasks"] == before["tasks"]
    assert after["slots_taken"] == after["parked"]
    assert _mounts(host) == mounts
    assert _memory(host) < memory + (30 << 20)


def _mounts(host: Host) -> list[str]:
    """Those of this sandbox: others on this machine come and go."""
    lines = Path(f"/proc/{host.process.pid}/mounts").read_text().splitlines()
    return [line for line in lines if str(host.run_dir) in line]


def _memory(host: Host) -> int:
    return int(Path(f"/proc/{host.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
