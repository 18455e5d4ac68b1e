"""The C code: how it is built, how it handles good and bad orders, and that sanitizers report nothing."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import pytest

import hatch_build
from sandbox import Limits, RunOutcome, native
from sandbox.confinement.limits import MOST_LOCKS
from sandbox.confinement.plan import Plan
from sandbox.protocol import orders, table
from tests.processes import as_descriptor_3
from tests.sandbox.host import FewSeconds
from tests.sandbox.hosts import REPOSITORY, CannotTest, Host, Installation, tight, wait_until
from tests.sandbox.native_builds import (
    INSTALL,
    SANDBOX,
    compile_program,
    compile_supervisor,
    compilers,
    sanitizing_compiler,
)

FUZZ_SECONDS = float(os.environ.get("FUZZ_SECONDS", "0"))
FUZZ_CASES = 20_000  # where no time is given
with_sanitizers = pytest.mark.skipif(sanitizing_compiler() is None, reason=INSTALL)
with_native_code = pytest.mark.skipif(not native.is_built(), reason="the native code was not built")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make namespaces without one for users")


# How it is built


def readelf(*arguments: str) -> str:
    return subprocess.run(["readelf", "--wide", *arguments], capture_output=True, check=True, text=True).stdout


@with_native_code
@pytest.mark.skipif(shutil.which("readelf") is None, reason="apt-get install binutils")
@pytest.mark.parametrize("name", hatch_build.SOURCES)
def test_the_native_code_is_hardened(name: str) -> None:
    path = f"{native.FOLDER}/{name}"
    [stack] = [line for line in readelf("--program-headers", path).splitlines() if "GNU_STACK" in line]
    symbols = readelf("--symbols", path)

    assert "DYN" in readelf("--file-header", path), "it can be loaded anywhere"
    assert "GNU_RELRO" in readelf("--program-headers", path)
    assert "BIND_NOW" in readelf("--dynamic", path) or "NOW" in readelf("--dynamic", path)
    assert "E" not in stack.split()[6], "its stack cannot be executed"
    assert "__stack_chk_fail" in symbols
    assert "_chk@" in symbols.replace("__stack_chk_fail@", ""), "_FORTIFY_SOURCE"


@pytest.mark.parametrize("name", hatch_build.SOURCES)
def test_no_compiler_has_a_warning(name: str, tmp_path: Path) -> None:
    assert compilers() or not native.is_built()
    for compiler in compilers():
        flags = [*hatch_build.FLAGS, *hatch_build.WARNINGS, "-Werror"]
        command = hatch_build.compile_command([compiler, *flags], name, tmp_path / name)
        done = subprocess.run(command, cwd=SANDBOX, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_every_header_can_be_included_twice() -> None:
    headers = list(SANDBOX.glob("*/*.h"))

    assert headers
    assert [path.name for path in headers if not path.read_text().startswith("#ifndef ZMESH_")] == []


# The real path: a sandbox whose supervisors have sanitizers. A report of theirs ends the supervisor, and with it the run.


@pytest.fixture(scope="module")
def sanitized_supervisor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = sanitizing_compiler()
    assert compiler is not None
    program = tmp_path_factory.mktemp("sanitized") / "supervisor"
    compile_supervisor(compiler, program)
    return program


@pytest.fixture(scope="module")
def sandbox(sanitized_supervisor: Path) -> Iterator[Host]:
    folder = Path(tempfile.mkdtemp(prefix="zmesh-test-"))
    folder.chmod(0o755)  # users of runs have to get there
    for name in ("sandbox", "sdk", "tests/sandbox"):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"), symlinks=True)
    shutil.copy(sanitized_supervisor, folder / "sandbox" / "native" / "supervisor")
    host = started(folder)
    assert host.report.node == "forked", host.report
    yield host
    host.assert_clean()
    host.close()
    shutil.rmtree(folder)


def started(packages: Path) -> Host:
    """A sandbox of these packages; skips where none starts here, whatever its supervisors."""
    mode = "root" if os.geteuid() == 0 else "user_namespace"
    try:
        return Host(mode, Installation(sys.executable, packages), Path(tempfile.mkdtemp(prefix="zmesh-test-run-")))
    except CannotTest as error:
        if packages != REPOSITORY:
            started(REPOSITORY).close()
            raise AssertionError(f"only with sanitizers it does not start: {error}") from error
        pytest.skip(f"the sanitized supervisor is NOT tested: {error}")


TWO_PROCESSES_WITH_MEMORY = """
import os, time
pages = bytearray(os.urandom(4096)) * 1024 * 40
if os.fork() == 0:
    pages = bytes(pages) + b"own"
    time.sleep(20)
pages = bytes(pages) + b"own"
time.sleep(20)
"""
# To add a lock, the kernel walks all locks of the file: in a single file, these could take a slow machine a minute.
MANY_LOCKS = """
import fcntl
files = [open(f"locked-{number}", "w") for number in range(200)]
for n in range(MOST_LOCKS + 1000):
    fcntl.lockf(files[n % 200], fcntl.LOCK_EX | fcntl.LOCK_NB, 1, 2 * n)
while True: pass
""".replace("MOST_LOCKS", str(MOST_LOCKS))
ENDS = [
    ("a result", "return 1", Limits(), None),
    ("a result and children that ended", "import os; os.system('true'); return 1", Limits(), None),
    (
        "a result and a child that goes on",
        "import os; os.fork() or __import__('time').sleep(60); return 1",
        Limits(),
        None,
    ),
    ("an exit code", "import os; os._exit(7)", Limits(), "exited"),
    ("a signal", "import os; os.kill(os.getpid(), 11)", Limits(), "crashed"),
    ("too long", "import time; time.sleep(60)", tight(timeout_ms=300), "timeout"),
    ("memory of one process", "data = bytearray(b'x') * (1 << 30)", tight(memory_mb=64), "memory_limit"),
    ("memory of two processes", TWO_PROCESSES_WITH_MEMORY, tight(memory_mb=300, timeout_ms=8000), "memory_limit"),
    (
        "CPU time of children",
        "import os\nos.fork() or os.fork()\nwhile True: pass",
        FewSeconds(timeout_ms=30_000),
        "cpu_limit",
    ),
    ("locks on files", MANY_LOCKS, tight(timeout_ms=50_000), "file_lock_limit"),
]


@with_sanitizers
@with_native_code
@pytest.mark.parametrize(("body", "limits", "error"), [end[1:] for end in ENDS], ids=[end[0] for end in ENDS])
def test_a_sanitized_supervisor_sees_every_end_of_a_run(
    sandbox: Host, body: str, limits: Limits, error: str | None
) -> None:
    outcome = sandbox.run("python", body, limits=limits)

    assert (outcome.error.type if outcome.error else None) == error, outcome
    assert outcome.peak_memory_bytes > 0
    assert outcome.logs == [] or error not in (None, "exited"), outcome.logs


@with_sanitizers
@with_native_code
def test_a_sanitized_supervisor_ends_a_run_of_javascript_that_is_cancelled(sandbox: Host) -> None:
    run: Future[RunOutcome] = sandbox.begin(
        "javascript", "console.log('on'); await new Promise((r) => setTimeout(r, 60000));"
    )
    time.sleep(0.2)
    sandbox.cancel(run)

    assert run.result(30).status == "cancelled"


# The program that makes supervisors, driven by hand

NOTHING = Plan().encode()
GOOD = orders.encode_plans(NOTHING, NOTHING)


@dataclass
class Program:
    """The sanitized program, and the test in the place of its template."""

    process: subprocess.Popen[bytes]
    orders: socket.socket

    def ask(self, message: bytes, descriptors: int = 5) -> int:
        """Its answer to an order with these descriptors; closes them."""
        with open(os.devnull) as null:
            socket.send_fds(self.orders, [message], [null.fileno()] * descriptors)
        return int(struct.unpack("!i", self.orders.recv(100))[0])

    def open_descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


@pytest.fixture
def program(sanitized_supervisor: Path) -> Iterator[Program]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        ours.settimeout(10)
        on_3 = as_descriptor_3(theirs.fileno())
        with subprocess.Popen(
            [sanitized_supervisor], preexec_fn=on_3, pass_fds=(3,), stderr=subprocess.PIPE
        ) as process:
            theirs.close()
            yield Program(process, ours)
            ours.close()
            _, said = process.communicate(timeout=20)
    assert (process.returncode, said) == (0, b""), "it ends with its template, and nothing leaks"


MALFORMED = {
    "nothing but a length": (struct.pack("!Q", 1), 5),
    "half a length": (b"\0\0\0", 5),
    "a length in the other byte order": (struct.pack("<Q", len(NOTHING)) + NOTHING + NOTHING, 5),
    "no plan of its own": (orders.encode_plans(b"", NOTHING), 5),
    "no plan for the run": (orders.encode_plans(NOTHING, b""), 5),
    "a plan longer than the message": (struct.pack("!Q", 2**64 - 1) + NOTHING, 5),
    "a run's plan that no template takes": (orders.encode_plans(NOTHING, bytes(table.LARGEST_PLAN + 1)), 5),
    "more than fits": (struct.pack("!Q", table.LARGEST_PLANS - 1000) + bytes(table.LARGEST_PLANS), 5),
    "no descriptors": (GOOD, 0),
    "a descriptor too few": (GOOD, 4),
    "a descriptor too many": (GOOD, 6),
    "far too many descriptors": (GOOD, 200),
}


@with_sanitizers
def test_malformed_orders_to_make_a_supervisor_are_refused_and_leave_nothing_open(program: Program) -> None:
    before = None
    for name, (message, descriptors) in MALFORMED.items():
        assert program.ask(message, descriptors) == -errno.EBADMSG, name
        before = before or program.open_descriptors()
        assert program.open_descriptors() == before, name


@dataclass
class MadeSupervisor:
    """A supervisor, and the test in the place of the host and of its runtime's template."""

    pid: int
    supervision: socket.socket
    runtime: socket.socket
    errors: int

    def answer(self, number: int) -> None:
        """As a template that has forked, though it has not."""
        message, descriptors, *_ = socket.recv_fds(self.runtime, table.LARGEST_PLAN, 8)
        assert message == NOTHING
        assert len(descriptors) == len(table.MESSAGES["FORK"].descriptors)
        with socket.socket(fileno=descriptors.pop(3)) as answer:
            answer.send(struct.pack("!i", number))
        for descriptor in descriptors:
            os.close(descriptor)

    def exit_code(self) -> int:
        wait_until(lambda: os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@contextlib.contextmanager
def made_by(program: Program, message: bytes) -> Iterator[MadeSupervisor]:
    host, supervision = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    template, runtime = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    errors, errors_of_run = os.pipe()
    with host, template, open(os.devnull) as null:
        for end in (host, template):
            end.settimeout(10)
        with supervision, runtime:
            passed = [null.fileno(), null.fileno(), errors_of_run, supervision.fileno(), runtime.fileno()]
            socket.send_fds(program.orders, [message], passed)
            pid = orders.decode_made(program.orders.recv(100))
        os.close(errors_of_run)
        made = MadeSupervisor(pid, host, template, errors)
        yield made
        os.close(errors)


@with_sanitizers
@as_root
@pytest.mark.parametrize(
    ("plan", "error"),
    [
        (b"\0" * 8, "a plan without a head"),
        (NOTHING + b"\0", "a plan whose length differs from its head"),
        (struct.pack("=IIII", 1, 0, 0, 0) + struct.pack("=q6q6B2xi4x", 39, *[0] * 12, 0), "a step outside its plan"),
        (struct.pack("=IIII", 0, 1, 8, 0) + struct.pack("=II", 4, 0) + bytes(8), "a pointer outside its plan"),
    ],
)
def test_a_supervisor_whose_plan_is_malformed_carries_out_nothing_of_it(
    program: Program, plan: bytes, error: str
) -> None:
    with made_by(program, orders.encode_plans(plan, NOTHING)) as made:
        assert made.supervision.recv(100) == b""
        assert os.read(made.errors, 1000).decode() == f"{error}: Bad message\n"
        assert made.exit_code() == 99


@with_sanitizers
@as_root
@pytest.mark.parametrize(
    "message",
    [b"X", b"kill", b"W", orders.encode_watch(Limits())[:-1], orders.encode_watch(Limits()) + b"\0", bytes(500)],
)
def test_a_malformed_order_ends_a_run_and_is_named(program: Program, message: bytes) -> None:
    with made_by(program, GOOD) as made:
        made.answer(1 << 22)
        made.supervision.send(orders.encode_watch(Limits()))
        made.supervision.send(message)

        assert json.loads(made.supervision.recv(1000)) == {"failed": "the supervisor got a malformed order"}
        assert made.exit_code() == 0


@with_sanitizers
@as_root
def test_a_supervisor_whose_run_was_not_forked_says_why(program: Program) -> None:
    with made_by(program, GOOD) as made:
        made.answer(-errno.EAGAIN)

        assert os.read(made.errors, 1000) == b"fork of the runtime's template: Resource temporarily unavailable\n"
        assert made.exit_code() == 99


# The decoders, against what they should do by the table


def reference(decoder: str, data: bytes) -> tuple[bool, list[int]]:
    """Whether a message is well formed, and what is in it."""
    refused = False, [0, 0, 0, 0]
    if decoder == "o":
        if len(data) == 25 and data[:1] == b"W":
            return True, list(struct.unpack("!cQQQ", data)[1:])
        return (True, [0, 0, 0]) if data in (b"C", b"E") else refused
    if decoder == "m":
        own = int.from_bytes(data[:8], "big")
        fits = len(data) > 8 and 0 < own < len(data) - 8 and len(data) - 8 - own <= table.LARGEST_PLAN
        return (True, [8, own, 8 + own, len(data) - 8 - own]) if fits else refused
    if decoder == "n":
        return (True, [int.from_bytes(data, "big", signed=True), 0, 0, 0]) if len(data) == 4 else refused
    return plan_is_whole(data), [0, 0, 0, 0]


def plan_is_whole(data: bytes) -> bool:
    if len(data) < 16:
        return False
    steps, pointers, data_bytes, _ = struct.unpack_from("=IIII", data)
    if 16 + 72 * steps + 8 * pointers + data_bytes != len(data):
        return False
    for index in range(steps):
        _, *rest = struct.unpack_from("=q6q6B2xi4x", data, 16 + 72 * index)
        arguments, kinds, result = rest[:6], rest[6:12], rest[12]
        needed = [{0: None, 1: 1, 2: 4}.get(kind, -1) for kind in kinds]
        inside = [
            size is None or (size > 0 and 0 <= at <= data_bytes - size)
            for at, size in zip(arguments, needed, strict=True)
        ]
        if not all(inside) or not 0 <= result <= data_bytes - 4:
            return False
    places = [struct.unpack_from("=II", data, 16 + 72 * steps + 8 * index) for index in range(pointers)]
    return all(at + 8 <= data_bytes and target < data_bytes for at, target in places)


def good_messages() -> dict[str, list[bytes]]:
    plan = Plan()
    plan.call("setsid")
    file = plan.call("openat", -100, "/nowhere", 0, 0)
    plan.call("write", file, b"some data", 9)
    plan.point(plan.put(bytes(16)) + 8, plan.put(b"target"))
    encoded = plan.encode()
    return {
        "o": [orders.encode_watch(Limits()), orders.CONCLUDE, orders.END],
        "m": [orders.encode_plans(encoded, encoded), GOOD],
        "n": [struct.pack("!i", 4711), struct.pack("!i", -1)],
        "p": [encoded, NOTHING],
    }


def mutated(message: bytes, chance: random.Random) -> bytes:
    """The message with a few faults of the kinds that parsers fall for."""
    data = bytearray(message)
    for _ in range(chance.randrange(4)):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(6):
            case 0:
                del data[at:]
            case 1:
                data[at:at] = chance.randbytes(chance.choice((1, 4, 8, 72)))
            case 2 if at < len(data):
                data[at] ^= 1 << chance.randrange(8)
            case 3:
                data[at : at + 4] = struct.pack("=I", chance.choice((0, 1, 2, 2**31 - 1, 2**31, 2**32 - 1)))
            case 4:
                data[at : at + 8] = struct.pack("=q", chance.choice((-1, 2**63 - 1, -(2**63), len(data), 2**32)))
            case _:
                del data[at : at + chance.choice((1, 4, 8, 72))]
    return bytes(data)


def cases(seed: int) -> list[tuple[str, bytes]]:
    chance = random.Random(seed)
    good = good_messages()
    made = [(decoder, message) for decoder, messages in good.items() for message in messages]
    while len(made) < FUZZ_CASES:
        decoder = chance.choice("omnppp")
        noise = chance.random() < 0.1
        data = chance.randbytes(chance.randrange(200)) if noise else mutated(chance.choice(good[decoder]), chance)
        made.append((decoder, data))
    return made


@pytest.fixture(scope="module")
def decoders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = sanitizing_compiler()
    assert compiler is not None
    program = tmp_path_factory.mktemp("decoders") / "fuzz_orders"
    harness = Path(__file__).parent / "native" / "fuzz_orders.c"
    sources = [harness, "confinement/plan.c", "protocol/orders.c"]
    compile_program([*compiler, "-Dsyscall=recorded_system_call"], sources, program)
    return program


def assert_decoded_as_the_table_says(decoders: Path, seed: int) -> int:
    """How many were well formed."""
    made = cases(seed)
    given = b"".join(struct.pack("=BI", ord(decoder), len(data)) + data for decoder, data in made)
    done = subprocess.run([decoders], input=given, capture_output=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, b""), f"seed {seed}: {done.stderr.decode()}"
    accepted = 0
    for (decoder, data), found in zip(made, struct.iter_unpack("=B4q", done.stdout), strict=True):
        well_formed, values = reference(decoder, data)
        assert found[0] == well_formed, (seed, decoder, data)
        if well_formed and decoder == "o":
            assert [value % 2**64 for value in found[2:]] == values, (seed, data)
        elif well_formed:
            assert list(found[1:]) == values, (seed, decoder, data)
        accepted += well_formed
    return accepted


@with_sanitizers
@pytest.mark.timeout(60 + 2 * FUZZ_SECONDS)
def test_no_order_harms_a_decoder_and_malformed_ones_are_refused(decoders: Path) -> None:
    deadline = time.monotonic() + FUZZ_SECONDS
    seed = random.SystemRandom().randrange(2**32) if FUZZ_SECONDS else 1

    while True:
        accepted = assert_decoded_as_the_table_says(decoders, seed)
        assert FUZZ_CASES // 20 < accepted < FUZZ_CASES // 2, "both kinds are among the cases"
        seed += 1
        if time.monotonic() >= deadline:
            break


@with_sanitizers
def test_the_sanitizers_are_at_work(tmp_path: Path) -> None:
    compiler = sanitizing_compiler()
    assert compiler is not None
    source = tmp_path / "bad.c"
    source.write_text(
        "#include <stdlib.h>\nint main(int n, char **a) { char *p = malloc(n); (void)a; return p[n + 3]; }"
    )
    compile_program(compiler, [source], tmp_path / "bad")
    done = subprocess.run([tmp_path / "bad"], capture_output=True)

    assert b"heap-buffer-overflow" in done.stderr
