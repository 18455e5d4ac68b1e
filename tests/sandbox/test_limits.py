"""Every limit that a run hits is named in its error, the caller is answered in time, and nothing is left."""

from __future__ import annotations

import platform
import time
from dataclasses import replace

import pytest

from sandbox import Limits, RunOutcome
from tests.sandbox.host import FewSeconds
from tests.sandbox.hosts import Host, tight

MIB = 1024 * 1024
IN_TIME_SECONDS = 3.0  # beyond the limit itself; two busy cores


def error_type(outcome: RunOutcome) -> str:
    assert outcome.error is not None, outcome
    return outcome.error.type


def body_of(language: str, **bodies: str) -> str:
    return bodies[language]


BUSY = {
    "python": "while True:\n    pass",
    "javascript": "while (true) {}",
}
IGNORING = {
    "python": """
import signal
for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
while True:
    pass
""",
    "javascript": """
for (const name of ["SIGTERM", "SIGINT", "SIGHUP", "SIGXCPU", "SIGALRM"]) process.on(name, () => {});
await new Promise((resolve) => setTimeout(resolve, 1e6));
""",
}


@pytest.mark.parametrize("bodies", [BUSY, IGNORING], ids=["busy", "ignoring signals"])
def test_time(host: Host, language: str, bodies: dict[str, str]) -> None:
    started = time.monotonic()

    outcome = host.run(language, bodies[language], limits=Limits(timeout_ms=600))

    assert outcome.status == "timeout"
    assert error_type(outcome) == "timeout"
    assert 600 <= outcome.duration_ms < 600 + IN_TIME_SECONDS * 1000
    assert time.monotonic() - started < 0.6 + IN_TIME_SECONDS


def test_a_run_that_stops_itself_times_out(host: Host) -> None:
    outcome = host.run(
        "python", "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)", limits=Limits(timeout_ms=500)
    )

    assert outcome.status == "timeout"


def test_a_caller_can_cancel(host: Host, language: str) -> None:
    run = host.begin(
        language, "print('begun')\nimport time\ntime.sleep(60)" if language == "python" else BUSY[language]
    )

    host.cancel(run)
    outcome = run.result(10)

    assert outcome.status == "cancelled"
    assert error_type(outcome) == "cancelled"


def test_cpu_time(host: Host) -> None:
    outcome = host.run("python", BUSY["python"], limits=FewSeconds(timeout_ms=20_000))

    assert error_type(outcome) == "cpu_limit"
    assert 500 <= outcome.cpu_ms < 2_500  # the kernel's own limit counts ticks


def test_cpu_time_of_javascript(host: Host) -> None:
    outcome = host.run("javascript", BUSY["javascript"], limits=FewSeconds(timeout_ms=20_000))

    assert error_type(outcome) == "cpu_limit"


def test_cpu_time_of_children_counts(host: Host) -> None:
    body = """
    import os, time
    for _ in range(8):
        if os.fork() == 0:
            while True:
                pass
    time.sleep(15)
    """

    outcome = host.run("python", body, limits=FewSeconds(timeout_ms=20_000))

    assert error_type(outcome) == "cpu_limit"
    assert outcome.cpu_ms >= 500


@pytest.mark.parametrize("kind", ["root", "process", "process_of_user"])
def test_cpu_time_of_children_that_a_thread_made_counts(host: Host) -> None:
    """Without a namespace, children are found through their parent's threads."""
    body = """
    import os, threading, time
    def work():
        for _ in range(6):
            if os.fork() == 0:
                while True:
                    pass
        time.sleep(15)
    threading.Thread(target=work).start()
    time.sleep(15)
    """

    assert error_type(host.run("python", body, limits=FewSeconds(timeout_ms=20_000))) == "cpu_limit"


CHILDREN = """
while True:
    try:
        if os.fork() == 0:
            while time.process_time() < 0.01:
                pass
            os._exit(0)
    except BlockingIOError:  # many at once on a busy machine
        pass
    time.sleep(0.001)
"""
UNWAITED = {
    "ignored": "import os, signal, time\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)" + CHILDREN,
    # The kernel's own struct sigaction: the default action, but no zombies (SA_NOCLDWAIT).
    "no zombies": """
import ctypes, os, signal, struct, time
action = struct.pack("QQQQ", 0, 2, 0, 0)
assert ctypes.CDLL(None).syscall(payload, int(signal.SIGCHLD), action, None, 8) == 0
"""
    + CHILDREN,
}


@pytest.mark.parametrize("how", UNWAITED)
def test_cpu_time_of_children_that_nobody_waits_for_counts(host: Host, how: str) -> None:
    """The kernel adds it to no parent, and each is gone before the supervisor looks. Where it may not count by another
    way, which is a gap that the sandbox tells, what bounds them is time."""
    uncounted = any("children that nobody waits for" in gap for gap in host.report.gaps)
    number = {"x86_64": 13, "aarch64": 134}[platform.machine()]

    outcome = host.run("python", UNWAITED[how], str(number), limits=FewSeconds(timeout_ms=30_000))

    assert error_type(outcome) == ("timeout" if uncounted else "cpu_limit")
    assert uncounted or outcome.cpu_ms >= 1_000


LOCKS = """
    import fcntl, time
    files = [open(f"locked-{number}", "w") for number in range(200)]
    for file in files:
        for at in range(payload // len(files)):
            fcntl.lockf(file, fcntl.LOCK_EX, 1, 2 * at)
    end = time.process_time() + 0.6
    while time.process_time() < end:
        pass
    return "kept"
"""


def test_more_locks_on_files_than_allowed_end_the_run(host: Host) -> None:
    """They are memory of the kernel's, 200 bytes each, that no limit of a process counts."""
    outcome = host.run("python", LOCKS, "12000")

    assert error_type(outcome) == "file_lock_limit"
    assert outcome.error is not None
    assert "10,000 locks" in outcome.error.message


def test_a_run_may_hold_many_locks_on_files(host: Host) -> None:
    assert host.value("python", LOCKS, "8000") == "kept"


def test_timers_are_limited(host: Host) -> None:
    """They take memory of the kernel: a run could use 30 MB of it."""
    body = """
        import ctypes
        timer, made = ctypes.c_int(), 0
        while made < 5000 and ctypes.CDLL(None).syscall(payload, 1, None, ctypes.byref(timer)) == 0:
            made += 1
        return made
    """
    assert host.value("python", body, str({"x86_64": 222, "aarch64": 107}[platform.machine()])) <= 1024


def test_locks_that_could_not_be_counted_are_refused(host: Host) -> None:
    """Those of open file descriptions: the kernel does not say whose they are."""
    body = """
        import errno, fcntl, struct
        answers = []
        with open("locked", "w") as file:
            for command in (36, 37, 38):  # F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW
                try:
                    fcntl.fcntl(file, command, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 1, 0))
                except OSError as error:
                    answers.append(errno.errorcode[error.errno])
        return answers
    """

    assert host.value("python", body) == ["EINVAL"] * 3


def test_a_database_in_a_file_can_be_used(host: Host) -> None:
    """SQLite locks it."""
    body = """
        import sqlite3
        with sqlite3.connect("data.db") as database:
            database.execute("create table t (a)")
            database.execute("insert into t values (1)")
        return sqlite3.connect("data.db").execute("select a from t").fetchall()
    """

    assert host.value("python", body) == [[1]]


PYTHON_LISTS = "data = []\nwhile True:\n    data.append(bytearray(1 << 20))"
MEMORY = [
    ("python", "lists", PYTHON_LISTS),
    ("python", "numbers", "data = []\nwhile True:\n    data.extend(range(100000))"),
    ("python", "text", "text = 'x'\nwhile True:\n    text += text"),
    ("python", "caught", "def eat():\n    data = []\n    while True:\n        data.append(bytearray(1 << 20))\n"
     "import time\nkept = []\ntry:\n    eat()\nexcept MemoryError:\n    raise"),
    ("javascript", "heap", "const data = []; while (true) data.push(new Array(1000).fill({}));"),
    ("javascript", "buffers", "const data = []; while (true) data.push(Buffer.alloc(1 << 20, 1));"),
    ("javascript", "wasm", "const m = new WebAssembly.Memory({initial: 1, maximum: 65536}); "
     "while (true) { m.grow(64); new Uint8Array(m.buffer).fill(1, m.buffer.byteLength - 64 * 65536); }"),
    ("javascript", "text", "const data = []; while (true) data.push(Buffer.alloc(1 << 20, 'x').toString('utf16le'));"),
]  # fmt: skip


@pytest.mark.parametrize("kind", ["root", "user_namespace"])
@pytest.mark.parametrize(("language", "what", "body"), MEMORY, ids=[f"{m[0]} {m[1]}" for m in MEMORY])
def test_memory(host: Host, language: str, what: str, body: str) -> None:
    outcome = host.run(language, body, limits=Limits(timeout_ms=8_000, memory_mb=128))

    # WebAssembly and typed arrays tell the function by an exception, which it may catch.
    assert error_type(outcome) in ({"memory_limit", "RangeError"} if language == "javascript" else {"memory_limit"})
    if error_type(outcome) == "memory_limit":
        assert "128 MB" in outcome.error.message or language == "python"  # type: ignore[union-attr]
    assert outcome.peak_memory_bytes < 2.5 * 128 * MIB + 80 * MIB


@pytest.mark.parametrize("memory_mb", [64, 256, 1024, 2048])
def test_each_class_of_memory_gives_what_it_says(memory_mb: int, host: Host, language: str) -> None:
    use = memory_mb * 55 // 100
    body = body_of(
        language,
        python=f"data = [bytearray(b'x') * (1 << 20) for _ in range({use})]\nreturn len(data)",
        javascript=f"""
        const data = [];
        for (let i = 0; i < {use}; i++) data.push(Buffer.alloc(1 << 20, 1));
        return data.length;
        """,
    )
    limits = Limits(timeout_ms=20_000, memory_mb=memory_mb)
    if memory_mb > 256 and host.mode != "root":
        pytest.skip("the large classes are the same code in each mode")

    outcome = host.run(language, body, limits=limits)

    assert outcome.result_json == str(use), outcome
    assert use * MIB < outcome.peak_memory_bytes < (use + 160) * MIB


def test_memory_of_all_children_counts_together(host: Host) -> None:
    body = """
    import os, time
    for _ in range(12):
        if os.fork() == 0:
            data = bytearray(b"x") * (16 << 20)
            time.sleep(20)
    time.sleep(20)
    """

    outcome = host.run("python", body, limits=Limits(timeout_ms=20_000, memory_mb=96))

    assert error_type(outcome) == "memory_limit"
    assert outcome.duration_ms < 10_000


@pytest.mark.parametrize("kind", ["root", "process", "process_of_user"])
def test_memory_of_children_that_forbid_looking_into_them_counts(host: Host) -> None:
    body = """
    import ctypes, os, time
    ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)
    for _ in range(12):
        if os.fork() == 0:
            data = bytearray(b"x") * (16 << 20)
            time.sleep(20)
    time.sleep(20)
    """

    assert error_type(host.run("python", body, limits=Limits(timeout_ms=20_000, memory_mb=96))) == "memory_limit"


def test_forking_alone_uses_no_memory(host: Host) -> None:
    """What children share with their parent counts once."""
    body = """
    import os, time
    data = bytearray(b"x") * (60 << 20)
    pids = [os.fork() for _ in range(0)]
    for _ in range(10):
        pid = os.fork()
        if pid == 0:
            time.sleep(0.4)
            os._exit(0)
        pids.append(pid)
    for pid in pids:
        os.waitpid(pid, 0)
    return len(pids)
    """

    assert host.value("python", body, limits=Limits(timeout_ms=20_000, memory_mb=128)) == 10


@pytest.mark.parametrize("kind", ["root", "process", "process_of_user"])
def test_page_tables_count(host: Host) -> None:
    """A page read here and there in a huge mapping costs the kernel as much again, and the process nothing."""
    script = (
        "import mmap\nm = mmap.mmap(-1, 1 << 40, flags=0x4022, prot=1)\n"
        "while True:\n    for at in range(0, 1 << 40, 1 << 21): m[at]\n"
    )
    body = f"""
    const {{ spawnSync }} = require("child_process");
    const {{ status, signal, stderr }} = spawnSync("/usr/bin/python3", ["-c", {script!r}]);
    return [status, signal, String(stderr)];
    """
    import os

    if not os.path.exists("/usr/bin/python3"):
        pytest.skip("this machine has no /usr/bin/python3")

    outcome = host.run("javascript", body, limits=Limits(timeout_ms=20_000, memory_mb=64))

    assert error_type(outcome) == "memory_limit", outcome


def test_one_file(host: Host, language: str) -> None:
    body = body_of(
        language,
        python="open('big', 'wb').write(bytes(11 << 20))",
        javascript="require('fs').writeFileSync('big', Buffer.alloc(11 << 20));",
    )

    assert error_type(host.run(language, body)) == "file_size_limit"


def test_one_file_of_a_child(host: Host) -> None:
    body = """
    import os, subprocess
    subprocess.run(["/bin/sh", "-c", "cat /usr/bin/* > big 2> /dev/null"])
    return os.path.getsize("big")
    """

    assert host.value("python", body) == 10 * MIB


def test_all_files_together(host: Host, language: str) -> None:
    if host.mode == "process":
        pytest.skip("without namespaces the workspace is a folder of the machine's")
    body = body_of(
        language,
        python="for n in range(1000):\n    open(f'f{n}', 'wb').write(bytes(9 << 20))",
        javascript="for (let n = 0; n < 1000; n++) require('fs').writeFileSync(`f${n}`, Buffer.alloc(9 << 20));",
    )

    assert error_type(host.run(language, body)) == "workspace_limit"


def test_the_number_of_files(host: Host) -> None:
    if host.mode == "process":
        pytest.skip("without namespaces the workspace is a folder of the machine's")

    outcome = host.run("python", "for n in range(1_000_000):\n    open(f'f{n}', 'x').close()")

    assert error_type(outcome) == "workspace_limit"


def test_open_files(host: Host, language: str) -> None:
    body = body_of(
        language,
        python="kept = [open('/dev/null') for _ in range(1000)]",
        javascript="for (let n = 0; n < 1000; n++) require('fs').openSync('/dev/null');",
    )

    assert error_type(host.run(language, body)) == "open_files_limit"


def test_processes(host: Host, language: str) -> None:
    body = body_of(
        language,
        python="import os, time\nfor _ in range(60):\n    if os.fork() == 0:\n        time.sleep(20)",
        javascript="""
        const { spawn } = require("child_process");
        await Promise.all(Array.from({ length: 80 }, () => new Promise((resolve, reject) => {
          const child = spawn("/bin/sleep", ["20"]);
          child.on("error", reject);
        })));
        """,
    )

    assert error_type(host.run(language, body, limits=Limits(timeout_ms=8_000))) == "process_limit"


@pytest.mark.parametrize("kind", ["root", "process", "process_of_user"])
def test_threads_count_as_processes(host: Host) -> None:
    body = "import threading, time\nfor _ in range(60):\n    threading.Thread(target=time.sleep, args=(5,)).start()"

    assert error_type(host.run("python", body, limits=Limits(timeout_ms=8_000))) == "process_limit"


def test_exactly_fifty_children(host: Host) -> None:
    if host.mode == "process" and host.user is not None:
        pytest.skip("all processes of the user count together")
    body = """
    import os, time
    count = 0
    try:
        while True:
            if os.fork() == 0:
                time.sleep(20)
                os._exit(0)
            count += 1
    except OSError:
        return count
    """

    assert host.value("python", body) == 50


def test_two_runs_do_not_share_their_processes(host: Host) -> None:
    if host.mode == "process" and host.user is not None:
        pytest.skip("all processes of the user count together")
    body = """
    import os, time
    for _ in range(45):
        if os.fork() == 0:
            time.sleep(20)
            os._exit(0)
    time.sleep(0.3)
    return 45
    """

    runs = [host.begin("python", body) for _ in range(3)]

    assert [run.result(20).result_json for run in runs] == ["45"] * 3


def test_the_results_size(host: Host, language: str) -> None:
    body = body_of(language, python="return 'x' * (9 << 20)", javascript="return 'x'.repeat(9 << 20);")

    assert error_type(host.run(language, body)) == "result_too_large"


def test_limits_other_than_the_usual_are_kept(host: Host) -> None:
    outcome = host.run("python", "open('big', 'wb').write(bytes(2 << 20))", limits=tight(file_mb=1))

    assert error_type(outcome) == "file_size_limit"


def test_output_beyond_the_limit_is_dropped_with_a_notice(host: Host, language: str) -> None:
    body = body_of(
        language,
        python="for n in range(20_000):\n    print('line', n)\nreturn 1",
        javascript="for (let n = 0; n < 20000; n++) console.log('line', n); return 1;",
    )

    outcome = host.run(language, body, limits=Limits(timeout_ms=15_000))

    assert outcome.status == "success"
    assert len(outcome.logs) == 10_001
    assert outcome.logs[-1].level == "warning"
    assert "dropped" in outcome.logs[-1].message


def test_usage_is_plausible(host: Host, language: str) -> None:
    body = body_of(
        language,
        python="import time\nend = time.process_time() + 0.4\nwhile time.process_time() < end:\n    pass\nreturn 1",
        javascript="""const used = () => { const { user, system } = process.cpuUsage(); return user + system; };
        const start = used(); while (used() - start < 400000) {} return 1;""",
    )

    outcome = host.run(language, body, limits=Limits(timeout_ms=20_000))

    assert 380 <= outcome.cpu_ms < 1_000
    assert outcome.duration_ms >= 380
    assert 10 * MIB < outcome.peak_memory_bytes < 120 * MIB


def test_timeouts_are_the_requests_own(host: Host) -> None:
    quick = host.begin("python", "import time\ntime.sleep(30)", limits=replace(tight(), timeout_ms=300))
    slow = host.begin("python", "import time\ntime.sleep(1)\nreturn 2", limits=tight(timeout_ms=10_000))

    assert quick.result(20).status == "timeout"
    assert slow.result(20).result_json == "2"


CONTROL_CHARACTERS = {"python": "print('\\x01' * 65_536)", "javascript": "console.log('\\x01'.repeat(65_536))"}


def test_the_longest_line_may_have_any_characters(host: Host, language: str) -> None:
    """Each of these is six bytes in JSON, in which lines come."""
    outcome = host.run(language, CONTROL_CHARACTERS[language])

    assert outcome.error is None
    assert [line.message for line in outcome.logs] == ["\x01" * 65_536]
