"""One table of frames and orders: both SDKs and the C code have the same, and what one side encodes the other decodes."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import socket
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.confinement.limits import MOST_LOCKS, Limits, StandingLimits
from sandbox.host.node_command import NodeCommand
from sandbox.protocol import frames, orders, table
from sandbox.protocol.frames import FrameParser
from sandbox.protocol.orders import KillOrder, NodeTemplateOrder, SpawnOrder, TemplateSettings, WatchOrder
from tests.processes import as_descriptor_3

REPOSITORY = Path(__file__).resolve().parents[2]
PYTHON_SDK = REPOSITORY / "sdk" / "python" / "zmesh_runtime"
JAVASCRIPT_SDK = REPOSITORY / "sdk" / "javascript"
NODE = NodeCommand(REPOSITORY / "sdk").command(256)[0]
KINDS = {name: frame.kind for name, frame in (table.FROM_RUN | table.TO_RUN).items()}  # type: ignore[operator]


def node(script: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([NODE, "-e", script], capture_output=True, check=True, timeout=30, **options)


def constants_of(sdk: str) -> dict[str, Any]:
    """The SDK's own names of frames, kinds as bytes."""
    if sdk == "python":
        return {name: value for name, value in runpy.run_path(str(PYTHON_SDK / "frames.py")).items() if name[0] != "_"}
    path = json.dumps(str(JAVASCRIPT_SDK / "lib" / "frames.js"))
    found = json.loads(node(f"process.stdout.write(JSON.stringify(require({path})))").stdout)
    return {name: value.encode() if isinstance(value, str) else value for name, value in found.items()}


@pytest.mark.parametrize("sdk", ["python", "javascript"])
def test_an_sdk_has_the_frames_of_the_table(sdk: str) -> None:
    found = constants_of(sdk)
    head = found.pop("HEAD", None)
    head_bytes = found.pop("HEAD_BYTES", None) or struct.calcsize(head)

    assert head_bytes == struct.calcsize(table.FRAME_HEAD)
    assert found.pop("LARGEST_CHUNK") == table.FROM_RUN["CHUNK"].largest
    assert found.pop("LONGEST_LINE") == table.LONGEST_LINE
    assert found == {name: kind for name, kind in KINDS.items() if sdk == "javascript" or name != "BOOTED"}


@pytest.mark.parametrize(
    ("files", "literal"),
    [
        (["channel.py", "output.py", "serving.py", "streaming.py"], r'b"[A-Z]"'),
        (["runtime.js", "lib/channel.js", "lib/output.js", "lib/streaming.js"], r"'[A-Z]'"),
    ],
)
def test_an_sdk_names_kinds_of_frames_in_one_file(files: list[str], literal: str) -> None:
    folder = PYTHON_SDK if files[0].endswith(".py") else JAVASCRIPT_SDK

    assert [name for name in files if re.search(literal, (folder / name).read_text())] == []


def test_the_sdk_and_the_filter_agree_on_the_address_that_is_never_connected_to() -> None:
    [given] = re.findall(r"^PRETENDED_ADDRESS_BYTES = (\d+)$", (PYTHON_SDK / "sessions.py").read_text(), re.M)

    assert int(given) == table.PRETENDED_ADDRESS_BYTES


def test_kinds_are_unambiguous_on_each_way() -> None:
    for way in (table.FROM_RUN, table.TO_RUN):
        assert len({frame.kind for frame in way.values()}) == len(way)
    kinds = [message.kind for message in table.MESSAGES.values() if message.receiver == "supervisor"]
    assert len(set(kinds)) == len(kinds)


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler: apt-get install gcc libc6-dev")
def test_the_c_code_has_the_orders_of_the_table(tmp_path: Path) -> None:
    supervisor = {name: message for name, message in table.MESSAGES.items() if message.receiver == "supervisor"}
    passed = {
        "supervisor_fds": table.MESSAGES["MAKE_SUPERVISOR"].descriptors,
        "fork_fds": table.MESSAGES["FORK"].descriptors,
    }
    expected = {name: message.kind[0] for name, message in supervisor.items() if message.kind}
    expected |= {name: getattr(table, name) for name in ("CHANNEL", "ORDERS", "LARGEST_PLANS", "LARGEST_PLAN")}
    sizes = {f"{fds}_count": len(names) for fds, names in passed.items()}
    places = {f"{fds}.{name}": place for fds, names in passed.items() for place, name in enumerate(names)}
    lines = [f'printf("{name} %d\\n", (int){name});' for name in expected]
    lines += [f'printf("{fds}_count %d\\n", (int)(sizeof(struct {fds}) / sizeof(int)));' for fds in passed]
    lines += [
        f'printf("{fds}.{name} %d\\n", (int)(offsetof(struct {fds}, {name}) / sizeof(int)));'
        for fds, names in passed.items()
        for name in names
    ]
    program = '#include <stdio.h>\n#include "orders.h"\nint main(void) {' + "\n".join(lines) + "}\n"

    command = ["cc", f"-I{REPOSITORY / 'sandbox' / 'protocol'}", "-x", "c", "-", "-o", tmp_path / "constants"]
    subprocess.run(command, input=program.encode(), check=True)
    said = subprocess.run([tmp_path / "constants"], capture_output=True, check=True, text=True).stdout
    found = {name: int(value) for name, value in map(str.split, said.splitlines())}

    assert found == expected | sizes | places


# Round trips

BODIES = st.binary(max_size=3000)


@pytest.fixture(scope="module")
def python_channel() -> Iterator[tuple[socket.socket, Any]]:
    """The host's end of a channel, and an SDK's Channel on the other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PYTHON_SDK.parent))
        from zmesh_runtime.channel import Channel

        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.settimeout(5)
            yield ours, Channel(theirs.fileno())


@settings(deadline=None)
@given(kind=st.sampled_from(sorted(frame.kind for frame in table.TO_RUN.values())), body=BODIES)
def test_the_python_sdk_receives_what_the_host_sends(
    python_channel: tuple[socket.socket, Any], kind: bytes, body: bytes
) -> None:
    host, channel = python_channel
    host.sendall(frames.encode(kind, body))

    assert channel.receive() == (kind, body)


@settings(deadline=None)
@given(kind=st.sampled_from(sorted(f.kind for f in table.FROM_RUN.values() if f.largest != 0)), body=BODIES)
def test_the_host_receives_what_the_python_sdk_sends(
    python_channel: tuple[socket.socket, Any], kind: bytes, body: bytes
) -> None:
    host, channel = python_channel
    channel.send(kind, body)

    assert list(FrameParser(3000).feed(host.recv(1 << 16))) == [(kind, body)]


ECHO = """
const { Channel } = require(process.argv[1]);
const channel = new Channel(3);
for (let frame; (frame = channel.receive()) !== null; ) {
  const text = frame.body.toString('utf8');
  channel.send(frame.kind, Buffer.from(text).equals(frame.body) ? text : frame.body);
}
"""


def test_the_javascript_sdk_sends_and_receives_as_the_host_does() -> None:
    bodies = [b"", b"{}", b"\x00\xff", '"ä€😀"'.encode(), bytes(range(256)) * 200, b"x" * 65536]
    sent = [
        (frame.kind, body)
        for frame in table.FROM_RUN.values()
        if frame.largest != 0
        for body in (bodies[:1] if frame.most else bodies)
    ]
    host, theirs = socket.socketpair()
    command = [NODE, "-e", ECHO, str(JAVASCRIPT_SDK / "lib" / "channel.js")]
    received: list[tuple[bytes, bytes]] = []
    parser = FrameParser(1 << 20)
    with subprocess.Popen(command, preexec_fn=as_descriptor_3(theirs.fileno()), pass_fds=(3,)), host, theirs:
        theirs.close()
        host.settimeout(20)
        for kind, body in sent:
            host.sendall(frames.encode(kind, body))
            while len(received) < len(sent) and (not received or received[-1] != (kind, body)):
                received += parser.feed(host.recv(1 << 16))
        host.shutdown(socket.SHUT_WR)

    assert received == sent


NUMBERS = st.integers(0, 2**53)
TEXTS = st.text(max_size=20)
STANDING = st.builds(StandingLimits, *[NUMBERS] * 7)
ORDERS = st.one_of(
    st.builds(SpawnOrder, NUMBERS, NUMBERS, st.lists(TEXTS), NUMBERS, st.booleans(), STANDING),
    st.builds(KillOrder, NUMBERS),
    st.builds(NodeTemplateOrder, NUMBERS, st.lists(TEXTS)),
)


@given(ORDERS)
def test_the_template_gets_the_orders_that_the_host_gives(order: orders.Order) -> None:
    assert orders.decode_order(orders.encode_order(order)) == order


def test_the_template_gets_the_settings_that_the_host_gives() -> None:
    settings = TemplateSettings(
        "root", "/run", "/sdk", ["/a"], ["/b"], {"psycopg": "/c"}, base_uid=7, slots=3, native=True
    )

    assert TemplateSettings.decode(settings.encode()) == settings


@given(st.integers(1, 2**40), st.integers(1, 2**40))
def test_a_supervisor_gets_the_limits_of_the_run_and_nothing_else_is_such_an_order(memory: int, timeout: int) -> None:
    limits = Limits(memory_mb=memory // 2**20, timeout_ms=timeout)
    message = orders.encode_watch(limits)

    assert orders.decode_watch(message) == WatchOrder(limits.memory_bytes, limits.cpu_seconds, MOST_LOCKS)
    for malformed in (message[:-1], message + b"\0", b"X" + message[1:], b"kill", b"W"):
        with pytest.raises(ValueError, match="a supervisor has no order"):
            orders.decode_watch(malformed)


def test_a_run_is_told_of_its_limits_what_it_enforces_itself() -> None:
    limits = Limits(memory_mb=128, timeout_ms=1500, result_bytes=1000)

    assert limits.for_job(background=True) == {
        "memory_bytes": 128 << 20,
        "cpu_seconds": 4,
        "result_bytes": 1000,
        "timeout_ms": 1500,
        "nice": 3,
    }


def test_the_numbers_of_made_supervisors_are_processes_or_errors() -> None:
    assert orders.decode_made(struct.pack("!i", 1234)) == 1234
    with pytest.raises(PermissionError):
        orders.decode_made(struct.pack("!i", -1))
    with pytest.raises(OSError, match="failed: no room"):
        orders.decode_made(b"no room")


def test_all_limits_of_a_run_are_in_one_file() -> None:
    sets_a_limit = re.compile(r'setrlimit\(|"prlimit64",|resource\.RLIMIT_(?!NOFILE)|RLIM_|--max-old-space-size')
    folder = REPOSITORY / "sandbox"
    files = [path for suffix in ("py", "c", "js") for path in folder.rglob(f"*.{suffix}")]

    found = {str(path.relative_to(folder)) for path in files if sets_a_limit.search(path.read_text())}

    # uids.py limits the process that stands for a range of users, which is not a run.
    assert found == {"confinement/limits.py", "confinement/uids.py"}
