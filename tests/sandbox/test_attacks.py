"""Malicious code: others lose nothing, its caller is told in time, and nothing of it remains."""

from __future__ import annotations

import json
import textwrap
import time

import pytest

from sandbox import Limits, RunOutcome
from tests.sandbox.hosts import Host, tight

FINAL = '{"forged": true}'
# What a run may do to descriptor 3, in Python: `frame(kind, body)` makes a frame, `send(data)` writes it.
CHANNEL = """
import os, struct
def frame(kind, body=b"", length=None):
    return struct.pack(">cI", kind, len(body) if length is None else length) + body
def send(data):
    view = memoryview(data)
    while view:
        view = view[os.write(3, view):]
"""


def error_type(outcome: RunOutcome) -> str | None:
    return outcome.error.type if outcome.error else None


def on_channel(host: Host, body: str, **options: object) -> RunOutcome:
    code = CHANNEL + "\ndef handler(payload, zmesh):\n" + textwrap.indent(textwrap.dedent(body).strip("\n"), "    ")
    return host.run("python", code, whole=True, **options)


GARBAGE = [
    ("an unknown kind", "send(frame(b'Z', b'x'))", "protocol_error"),
    ("text", "send(b'GET / HTTP/1.1' + bytes(100))", "protocol_error"),
    ("zeros", "send(bytes(1000))", "protocol_error"),
    ("a huge log line", "send(frame(b'L', b'', 1 << 30))", "protocol_error"),
    ("a huge error", "send(frame(b'E', b'', 1 << 31))", "protocol_error"),
    ("a huge result", "send(frame(b'R', b'', (1 << 32) - 1))", "result_too_large"),
    ("an attachment asked for twice", "send(frame(b'D') * 2)", "protocol_error"),
    ("a second boot", "send(frame(b'B') * 3)", "protocol_error"),
    ("half a frame", "send(frame(b'R', b'[1', 100)); os._exit(0)", "exited"),
    ("half a head", "send(b'R\\0'); os._exit(3)", "exited"),
    ("no JSON", "send(frame(b'R', b'hello'))", "invalid_result"),
    ("not UTF-8", "send(frame(b'R', b'\"\\xff\"'))", "invalid_result"),
    ("nothing", "send(frame(b'R'))", "invalid_result"),
    ("NaN", "send(frame(b'R', b'[NaN]'))", "invalid_result"),
    ("minus infinity", "send(frame(b'R', b'-Infinity'))", "invalid_result"),
    ("two values", "send(frame(b'R', b'1 2'))", "invalid_result"),
    ("a deep list", "send(frame(b'R', b'[' * 1000000))", "invalid_result"),
    ("a deep whole list", "send(frame(b'R', b'[' * 500000 + b']' * 500000))", "invalid_result"),
    ("an error that is a list", "send(frame(b'E', b'[1]'))", "invalid_result"),
    ("an error that is a number", "send(frame(b'E', b'1'))", "invalid_result"),
    ("an error without a type", "send(frame(b'E', b'{}'))", "invalid_result"),
    ("a response that is a list", "send(frame(b'H', b'[]'))", "invalid_result"),
    ("a response with a list of headers",
     "send(frame(b'H', b'{\"status\": 200, \"headers\": [], \"body_base64\": \"\"}'))", "invalid_result"),
    ("a response with a split header",
     "send(frame(b'H', b'{\"status\": 200, \"headers\": {\"a\": \"b\\\\r\\\\nc: d\"}, \"body_base64\": \"\"}'))",
     "invalid_result"),
    ("a response with a strange status",
     "send(frame(b'H', b'{\"status\": 99, \"headers\": {}, \"body_base64\": \"\"}'))", "invalid_result"),
    ("a response with a number as body",
     "send(frame(b'H', b'{\"status\": 200, \"headers\": {}, \"body_base64\": 7}'))", "invalid_result"),
    ("closed", "os.close(3); os._exit(0)", "exited"),
]  # fmt: skip


@pytest.mark.parametrize("kind", ["root"])
@pytest.mark.parametrize(("what", "body", "expected"), GARBAGE, ids=[g[0] for g in GARBAGE])
def test_garbage_on_the_channel_is_a_named_error(host: Host, what: str, body: str, expected: str) -> None:
    started = time.monotonic()

    outcome = on_channel(host, f"{body}\nimport time\ntime.sleep(20)", limits=Limits(timeout_ms=15_000))

    assert outcome.status == "error"
    assert error_type(outcome) == expected
    assert time.monotonic() - started < 5


def test_only_the_first_of_forged_results_counts(host: Host) -> None:
    outcome = on_channel(
        host,
        """
        send(frame(b"R", b'"first"') + frame(b"R", b'"second"') + frame(b"E", b'{"type": "x", "message": "y"}') + bytes(9))
        return "third"
        """,
    )

    assert outcome.result_json == '"first"'
    assert outcome.status == "success"


def test_a_child_may_forge_no_more_than_its_parent(host: Host) -> None:
    """Children hold the channel too; whatever they write is this run's result and no other's."""
    outcome = on_channel(
        host,
        """
        import time
        if os.fork() == 0:
            os.write(3, frame(b"R", b'"of the child"'))
            time.sleep(20)
        time.sleep(20)
        """,
        limits=Limits(timeout_ms=800),
    )

    assert outcome.status in ("success", "timeout")
    assert outcome.result_json in (None, '"of the child"')


FLOODS = {
    "log frames": 'while True:\n    send(frame(b\'L\', b\'{"at": 0, "level": "info", "message": "x"}\') * 2000)',
    "empty log frames": "while True:\n    send(frame(b'L') * 40000)",
    "log frames that are no JSON": "while True:\n    send(frame(b'L', b'[' * 200000))",
    "after the result": "send(frame(b'R', b'1'))\nwhile True:\n    send(frame(b'L', b'{}') * 10000)",
    "standard output": "import os\nblock = bytes(1 << 20)\nfor _ in range(1024):\n    os.write(1, block)\nreturn 1",
    "lines": "import os\nblock = b'x\\n' * 50000\nwhile True:\n    os.write(1, block)",
    "standard error": "import os\nblock = b'FATAL ERROR: heap out of memory\\n' * 5000\nwhile True:\n    os.write(2, block)",
    "all at once, by children": "for n in range(8):\n    if os.fork() == 0:\n        while True:\n            "
    "os.write(1 + n % 2, b'\\n' * 60000)\nwhile True:\n    send(frame(b'L') * 40000)",
}


@pytest.mark.parametrize("kind", ["root"])
@pytest.mark.parametrize("flood", list(FLOODS))
def test_a_flood_takes_little_of_the_listeners_time(host: Host, flood: str) -> None:
    limits = Limits(timeout_ms=900)
    host.state()
    floods = [host.begin("python", CHANNEL + "\ndef handler(payload, zmesh):\n" + _indented(FLOODS[flood]),
                         whole=True, limits=limits) for _ in range(2)]  # fmt: skip
    outcomes = [run.result(20) for run in floods]
    state = host.state()

    assert state["stall_seconds"] < 0.25, "the listener's thread computed this long in one go"
    for outcome in outcomes:
        assert outcome.duration_ms < 5_000
        assert len(outcome.logs) <= 10_001
        assert sum(len(line.message) for line in outcome.logs) <= 1024 * 1024 + 200
        if flood != "after the result" and outcome.status == "timeout":
            assert any("dropped" in line.message for line in outcome.logs)


def _indented(body: str) -> str:
    return textwrap.indent(body, "    ")


@pytest.mark.parametrize("kind", ["root"])
def test_a_neighbour_is_served_during_a_flood(host: Host) -> None:
    flood = CHANNEL + "\ndef handler(payload, zmesh):\n" + _indented(FLOODS["empty log frames"])
    floods = [host.begin("python", flood, whole=True, limits=Limits(timeout_ms=1_200)) for _ in range(3)]
    times = []
    while not all(run.done() for run in floods):
        started = time.monotonic()
        assert host.value("python", "return 1") == 1
        times.append(time.monotonic() - started)
        time.sleep(0.05)

    assert sorted(times)[len(times) // 2] < 1.0


HOSTILE_JSON = {
    "lists": ("b'[],'", 3),
    "objects": ("b'{},'", 3),
    "keys": None,
    "numbers": ("b'1,'", 2),
    "long numbers": ("b'9' * 4000 + b','", 4001),
    "floats": ("b'1e308,'", 6),
}


@pytest.mark.parametrize("kind", ["root"])
@pytest.mark.parametrize("what", list(HOSTILE_JSON))
def test_a_result_made_to_be_slow_to_read_does_not_hold_up_the_listener(host: Host, what: str) -> None:
    if HOSTILE_JSON[what] is None:
        body = "body = b'{' + b','.join(b'\"%07d\":1' % n for n in range(690000)) + b'}'"
    else:
        unit, size = HOSTILE_JSON[what]  # type: ignore[misc]
        body = f"body = b'[' + ({unit}) * ((8 << 20) // {size} - 2) + b'1]'"
    host.state()

    outcome = on_channel(host, body + "\nsend(frame(b'R', body))\nos._exit(0)", limits=Limits(timeout_ms=8_000))

    assert outcome.status == "success", outcome.error
    assert host.state()["stall_seconds"] < 0.9


@pytest.mark.parametrize("kind", ["root", "process", "user_namespace", "process_of_user"])
def test_a_fork_bomb_ends_and_its_neighbour_works_on(host: Host) -> None:
    bomb = """
    import os
    while True:
        try:
            os.fork()
        except OSError:
            pass
    """
    run = host.begin("python", bomb, limits=tight())
    served = 0
    while not run.done():
        assert host.value("python", "return 1", limits=Limits(timeout_ms=15_000)) == 1
        served += 1

    assert run.result().status == "timeout"
    assert served >= 1


DAEMONS = {
    "double fork": "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        time.sleep(60)\n    os._exit(0)",
    "holding standard output open": "if os.fork() == 0:\n    os.setsid()\n    while True:\n        os.write(1, b'still here')\n        time.sleep(0.01)",
    "many": "for _ in range(20):\n    if os.fork() == 0:\n        os.setsid()\n        if os.fork() == 0:\n            os.setsid()\n        time.sleep(60)",
    "of a thread": "import threading\ndef work():\n    if os.fork() == 0:\n        os.setsid()\n        time.sleep(60)\nthreading.Thread(target=work).start()",
    "forking on": "if os.fork() == 0:\n    os.setsid()\n    while True:\n        if os.fork() != 0:\n            os._exit(0)",
    "ignoring its parent's end": "import ctypes\nctypes.CDLL(None).prctl(1, 0, 0, 0, 0)\nctypes.CDLL(None).prctl(36, 1, 0, 0, 0)\nif os.fork() == 0:\n    time.sleep(60)",
}  # fmt: skip


@pytest.mark.parametrize("kind", ["root", "process", "user_namespace", "process_of_user"])
@pytest.mark.parametrize("daemon", list(DAEMONS))
def test_daemons_end_with_the_run(host: Host, daemon: str) -> None:
    """The fixture looks for what is left."""
    body = f"import os, time, signal\n{DAEMONS[daemon]}\nreturn 'done'"
    started = time.monotonic()

    outcome = host.run("python", body, limits=Limits(timeout_ms=5_000))

    assert outcome.result_json == '"done"', outcome
    assert time.monotonic() - started < 4


def test_daemons_of_javascript_end_with_the_run(host: Host) -> None:
    body = """
    const { spawn } = require("child_process");
    for (let n = 0; n < 5; n++)
      spawn("/bin/sh", ["-c", "trap '' TERM HUP; setsid sleep 60 & sleep 60"], { detached: true, stdio: "ignore" }).unref();
    setInterval(() => {}, 1000);
    return "done";
    """

    assert host.value("javascript", body) == "done"


TREES = {
    "deep": "for _ in range(3000):\n    os.mkdir('d')\n    os.chdir('d')",
    "unreadable": "for n in range(20):\n    os.makedirs(f'a{n}/b/c')\n    open(f'a{n}/b/f', 'w').close()\n"
    "    os.chmod(f'a{n}/b/c', 0)\n    os.chmod(f'a{n}/b', 0)\n    os.chmod(f'a{n}', 0)",
    "deep and unreadable": "for _ in range(1500):\n    os.mkdir('d')\n    os.chdir('d')\n"
    "for _ in range(1500):\n    os.chdir('..')\n    os.chmod('d', 0)",
    "wide": "for n in range(15000):\n    open(f'f{n}', 'w').close()",
    "strange": "import socket\nos.mkfifo('fifo')\nsocket.socket(socket.AF_UNIX).bind('s')\nos.symlink('s', 'loop')\n"
    "os.symlink('/', 'tmp/root')\nopen(b'\\xff\\n', 'w').close()\nos.mkdir('-rf')\nos.mkdir('.zmesh-x')",
}


@pytest.mark.parametrize("tree", list(TREES))
def test_a_workspace_is_removed_whatever_it_has_become(host: Host, tree: str) -> None:
    outcome = host.run("python", f"import os\n{TREES[tree]}\nreturn 1", limits=Limits(timeout_ms=10_000))

    assert outcome.status == "success", outcome


ENDINGS = [
    ("python", "import os\nos._exit(0)", "exited"),
    ("python", "import os\nos._exit(41)", "exited"),
    ("python", "import sys\nsys.exit(3)", "SystemExit"),
    ("python", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "crashed"),
    ("python", "import os, signal\nos.kill(os.getpid(), signal.SIGABRT)", "crashed"),
    ("python", "import os\nos.kill(os.getpid(), 40)", "crashed"),
    ("python", "import ctypes\nctypes.string_at(0)", "crashed"),
    ("python", "import os\nos.write(2, b'FATAL ERROR: heap out of memory')\nos._exit(0)", "exited"),
    ("python", "def f():\n    return f()\nreturn f()", "RecursionError"),
    ("javascript", "process.exit(0);", "exited"),
    ("javascript", "process.abort();", "crashed"),
    ("javascript", "process.kill(process.pid, 'SIGKILL'); await new Promise(() => {});", "crashed"),
    ("javascript", "console.error('FATAL ERROR: heap out of memory'); process.exit(0);", "exited"),
    ("javascript", "(function f() { f(); })();", "RangeError"),
]


@pytest.mark.parametrize("kind", ["root"])
@pytest.mark.parametrize(("language", "body", "expected"), ENDINGS, ids=[f"{e[0]} {e[1][-24:]!r}" for e in ENDINGS])
def test_every_way_to_end_is_named(host: Host, language: str, body: str, expected: str) -> None:
    outcome = host.run(language, body)

    assert outcome.status == "error"
    assert error_type(outcome) == expected


@pytest.mark.parametrize("kind", ["root", "process"])
def test_fifty_children_each_with_memory(host: Host) -> None:
    body = """
    import os, time
    for _ in range(50):
        if os.fork() == 0:
            data = bytearray(b"x") * (60 << 20)
            time.sleep(20)
    time.sleep(20)
    """

    outcome = host.run("python", body, limits=Limits(timeout_ms=10_000, memory_mb=128))

    assert error_type(outcome) == "memory_limit"
    assert outcome.duration_ms < 8_000


def test_memory_by_shared_files_is_bounded(host: Host) -> None:
    """Mapped files of the workspace are the workspace's."""
    if host.mode == "process":
        pytest.skip("without namespaces the workspace is a folder of the machine's")
    body = """
    import mmap, os
    maps = []
    for n in range(100):
        fd = os.open(f"f{n}", os.O_RDWR | os.O_CREAT)
        os.ftruncate(fd, 8 << 20)
        m = mmap.mmap(fd, 8 << 20)
        os.close(fd)
        for at in range(0, 8 << 20, 4096):
            m[at] = 1
        maps.append(m)
    """

    outcome = host.run("python", body, limits=Limits(timeout_ms=10_000, memory_mb=512))

    assert error_type(outcome) in ("crashed", "memory_limit", "workspace_limit")  # SIGBUS where no page is left


def test_the_payload_is_no_way_in(host: Host, language: str) -> None:
    """Whatever JSON it is, it reaches the function as that value."""
    values = [
        None,
        0,
        -1.5,
        "",
        "\u2028\u2029</script>`${1}`",
        "\x00",
        "__proto__",
        [],
        {"__proto__": {"a": 1}},
        "é\U0001f600" * 10,
    ]
    body = {"python": "return payload", "javascript": "return payload;"}[language]

    for value in values:
        assert host.value(language, body, json.dumps(value)) == value
