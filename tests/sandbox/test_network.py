"""Runs without network: no socket leads out of them, in any mode and language, and errors name the rule."""

from __future__ import annotations

import base64
import json
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sandbox import Limits, connect_filter
from sandbox.protocol.table import MOST_ATTACHMENTS
from tests.sandbox.attacks import python
from tests.sandbox.host import ConnectionTo
from tests.sandbox.hosts import REPOSITORY, Host

RULE = "network access is off for this function (network: none)"
REFUSED = {"ENETDOWN", "EAFNOSUPPORT", "EPROTONOSUPPORT", "EINVAL", "ESOCKTNOSUPPORT"}

EVERY_SOCKET = """
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)

def answer(returned):
    return "done" if returned >= 0 else errno.errorcode[ctypes.get_errno()]

made = {}
for family in range(0, 64):
    for kind in range(1, 12):
        for protocol in (0, 6, 17, 132, 262):
            made[f"{family} {kind} {protocol}"] = answer(libc.socket(family, kind, protocol))
pairs = {kind: answer(libc.socketpair(1, kind, 0, (ctypes.c_int * 2)())) for kind in range(1, 12)}
others = {family: answer(libc.socketpair(family, 1, 0, (ctypes.c_int * 2)())) for family in range(2, 64)}
return [made, pairs, others]
"""
# What is tried with a TCP connection that the run was given, while it is open and after its other end was closed.
GIVEN_SOCKET = """
import ctypes, json, socket, struct, subprocess, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
os.write(3, b"D" + bytes(4))
channel = socket.socket(fileno=os.dup(3))
head, [given], *_ = socket.recv_fds(channel, 5, 1)
address = struct.pack("=H", socket.AF_INET) + payload["port"].to_bytes(2, "big") + bytes([127, 0, 0, 1]) + bytes(8)

def answer(returned):
    return "done" if returned >= 0 else errno.errorcode[ctypes.get_errno()]

def connect(fd, family=socket.AF_INET, length=16):
    return answer(libc.connect(fd, struct.pack("=H", family) + address[2:] + bytes(256), length))

def attempts():
    fastopen = 0x20000000
    given_too = socket.socket(fileno=os.dup(given))
    return {
        "disconnect": connect(given, socket.AF_UNSPEC),
        "disconnect, with each length": sorted({connect(given, socket.AF_UNSPEC, n) for n in range(2, 128)}),
        "connect": connect(given),
        "bind": answer(libc.bind(given, address, 16)),
        "listen": answer(libc.listen(given, 5)),
        "sendto": answer(libc.sendto(given, b"x", 1, fastopen, address, 16)),
        "sendmsg": error_of(lambda: given_too.sendmsg([b"x"], [], fastopen, ("127.0.0.1", payload["port"]))),
        "a unix socket": error_of(lambda: socket.socket(socket.AF_UNIX).connect(payload["path"])),
        "an abstract socket": error_of(lambda: socket.socket(socket.AF_UNIX).connect("\\0" + payload["abstract"])),
        "a datagram": error_of(lambda: socket.socketpair(type=socket.SOCK_DGRAM)[0].sendto(b"x", payload["path"])),
        "a server": error_of(lambda: socket.socket(socket.AF_UNIX).bind("server")),
    }

def in_child():
    ours, theirs = os.pipe()
    if os.fork() == 0:
        os.write(theirs, json.dumps(attempts()).encode())
        os._exit(0)
    os.wait()
    return json.loads(os.read(ours, 65536))

def in_thread():
    found = []
    thread = threading.Thread(target=lambda: found.append(attempts()))
    thread.start()
    thread.join()
    return found[0]

open_still = socket.socket(fileno=os.dup(given))
open_still.sendall(b"hello ")  # what it was given for works
first = attempts(), in_child(), in_thread()
open_still.sendall(b"and goodbye")
assert open_still.recv(10) == b""  # the other end is closed
open_still.shutdown(socket.SHUT_RDWR)
last = attempts()
run = subprocess.run(["bash", "-c", f"exec 4<>/dev/tcp/127.0.0.1/{payload['port']}"], capture_output=True, text=True)
return [*first, last, "Network is down" in run.stderr]
"""
ERRORS = {
    "python": """
import http.client, socket, ssl, urllib.request
import asyncio
said = {}
for name, attempt in {
    "address": lambda: socket.create_connection(("127.0.0.1", payload["port"]), 5),
    "name": lambda: socket.create_connection(("example.org", 80), 5),
    "lookup": lambda: socket.getaddrinfo("example.org", 443),
    "old lookup": lambda: socket.gethostbyname("example.org"),
    "fetch": lambda: urllib.request.urlopen(f"http://127.0.0.1:{payload['port']}/", timeout=5),
    "datagram": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
    "server": lambda: socket.create_server(("127.0.0.1", 0)),
    "asyncio": lambda: asyncio.run(asyncio.open_connection("127.0.0.1", payload["port"])),
}.items():
    try:
        attempt()
        said[name] = "done"
    except OSError as error:
        said[name] = str(error)
return said
""",
    "javascript": """
const dgram = require("dgram"), dns = require("dns"), net = require("net"), http = require("http");
const failed = (emitter) => new Promise((resolve) => {
  for (const event of ["connect", "listening", "response"]) emitter.once(event, () => resolve("done"));
  emitter.once("error", (error) => resolve(error.message));
});
const rejected = (promise) => promise.then(() => "done", (error) => error.cause?.message ?? error.message);
const url = `http://127.0.0.1:${payload.port}/`;
return {
  address: await failed(net.connect(payload.port, "127.0.0.1")),
  name: await failed(net.connect(80, "example.org")),
  lookup: await new Promise((resolve) => dns.lookup("example.org", (error) => resolve(error?.message ?? "done"))),
  "promised lookup": await rejected(dns.promises.lookup("example.org")),
  get: await failed(http.get(url)),
  fetch: await rejected(fetch(url)),
  "fetch by name": await rejected(fetch("http://example.org/")),
  datagram: await failed(dgram.createSocket("udp4").bind(0)),
  server: await failed(net.createServer().listen(0, "127.0.0.1")),
  "unix server": await failed(net.createServer().listen("server")),
  "unix socket": await failed(net.connect("server")),
};
""",
}
# As a build starts its installer: see sdk/python/build_network.py.
BUILD = """
open("build_network.py", "w").write(payload["program"])
sys.path.insert(0, os.getcwd())
from build_network import Network
network = Network(payload["settings"])
interpreters = (sys.executable, "/usr/bin/python3", "/usr/local/bin/python3")  # the first may be of root alone
interpreter = next(one for one in interpreters if os.access(one, os.X_OK))
started = network.start([interpreter, "-c", payload["tries"], str(payload["settings"]["port"])], dict(os.environ))
return [network.limited, started.stdout.read()]
"""
TRIES = """
import ctypes, errno, json, os, socket, sys, threading
port = int(sys.argv[1])

def said(attempt):
    try:
        return attempt()
    except OSError as error:
        return errno.errorcode[error.errno]

def connect(name, host="127.0.0.1", port=port, timeout=None):
    with socket.socket() as made:
        made.settimeout(timeout)
        made.connect((host, port))
        made.sendall(name.encode())
        return [os.get_blocking(made.fileno()), os.get_inheritable(made.fileno())]

def in_thread():
    found = []
    thread = threading.Thread(target=lambda: found.append(said(lambda: connect("thread "))))
    thread.start()
    thread.join()
    return found[0]

def in_child():
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        theirs.send(json.dumps(said(lambda: connect("child "))).encode())
        os._exit(0)
    return json.loads(ours.recv(1000))

def fast_open():
    with socket.socket() as made:
        return made.sendto(b"fast ", 0x20000000, ("127.0.0.1", port))

print(json.dumps({
    "blocking": said(lambda: connect("blocking ")),
    "with a timeout": said(lambda: connect("timeout ", timeout=5)),
    "in a thread": in_thread(),
    "in a child": in_child(),
    "another host": said(lambda: connect("elsewhere ", host="127.0.0.2")),
    "another port": said(lambda: connect("elsewhere ", port=port - 1)),
    "https": said(lambda: connect("elsewhere ", port=443)),
    "datagram": said(lambda: socket.socket(type=socket.SOCK_DGRAM).connect(("127.0.0.1", 53))),
    "pair": said(lambda: socket.socketpair(type=socket.SOCK_DGRAM)[0].fileno()),
    "unix": said(lambda: socket.socket(socket.AF_UNIX).fileno()),
    "multipath": said(lambda: socket.socket(proto=262).fileno()),
    "fast open": said(fast_open),
    "server": said(lambda: socket.create_server(("127.0.0.1", 0)).fileno()),
}))
"""
LETTING_THROUGH = {
    "python": "import urllib.request\nurllib.request.urlopen('http://127.0.0.1:9999/')",
    "javascript": "await fetch('http://127.0.0.1:9999/');",
}
ORDINARY = {
    "python": """
import asyncio, json, os, socket, subprocess
async def communicate():
    program = await asyncio.create_subprocess_exec("cat", stdin=-1, stdout=-1)
    return (await program.communicate(b"asyncio"))[0].decode()
ours, theirs = socket.socketpair()
if os.fork() == 0:
    theirs.send(b"[1, 2]")
    os._exit(0)
numbers = json.loads(ours.recv(100))
return [asyncio.run(communicate()), numbers, subprocess.check_output(["echo", "-n", "program"]).decode()]
""",
    "javascript": """
const { execFileSync, spawn } = require("child_process"), { Worker } = require("worker_threads");
const cat = spawn("cat");
cat.stdin.end("asyncio");
const said = await new Promise((resolve) => cat.stdout.once("data", (data) => resolve(String(data))));
const worker = new Worker("require('worker_threads').parentPort.postMessage([1, 2])", { eval: true });
const numbers = await new Promise((resolve) => worker.once("message", resolve));
return [said, numbers, String(execFileSync("echo", ["-n", "program"]))];
""",
}


@contextmanager
def listening() -> Iterator[tuple[socket.socket, int]]:
    """A server on a local port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        yield server, server.getsockname()[1]


def test_no_socket_of_any_family_can_be_made(host: Host) -> None:
    made, pairs, others = host.value("python", EVERY_SOCKET, network="none")

    assert {key for key, answer in made.items() if answer not in REFUSED} == {"1 1 0"}  # an AF_UNIX stream
    assert {key for key, answer in pairs.items() if answer not in REFUSED} == {"1", "5"}
    assert {family: answer for family, answer in others.items() if answer not in REFUSED} == {}
    assert made["2 1 0"] == made["10 2 0"] == "ENETDOWN"


def test_neither_a_socket_that_it_was_given_nor_one_of_the_host_leads_out(host: Host, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    path = Path("/tmp") / f"zmesh-{tmp_path.name}-{host.mode}.sock"  # short, and open to all
    abstract = f"zmesh-network-{host.mode}"
    with listening() as (server, port), socket.socket(socket.AF_UNIX) as unix, socket.socket(socket.AF_UNIX) as other:
        unix.bind(str(path))
        path.chmod(0o777)
        unix.listen()
        other.bind(f"\0{abstract}")
        other.listen()
        payload = json.dumps({"port": port, "path": str(path), "abstract": abstract})
        run = host.begin("python", python(GIVEN_SOCKET), payload, whole=True, network="none", attach=ConnectionTo(port))
        connection, _ = server.accept()
        heard = b""
        while not heard.endswith(b"goodbye"):
            heard += connection.recv(100)
        connection.close()
        outcome = run.result(60)
        server.settimeout(0.05)
        with pytest.raises(TimeoutError):
            server.accept()
    path.unlink()

    assert heard == b"hello and goodbye"
    assert outcome.result_json is not None, outcome
    *attempts, program_refused = json.loads(outcome.result_json)
    assert program_refused
    for found in attempts:
        lengths = found.pop("disconnect, with each length")
        assert lengths == ["EINPROGRESS", "ENETDOWN"]  # to the one length, nothing is done at all
        assert set(found.values()) == {"ENETDOWN"}, found


@pytest.mark.parametrize("since", ["(5, 9)", "(99, 0)"], ids=["this kernel", "a kernel that replaces no sockets"])
def test_what_a_build_starts_connects_to_its_proxy_only(host: Host, since: str) -> None:
    program = (REPOSITORY / "sdk" / "python" / "build_network.py").read_text()
    program = re.sub(r"^REPLACES_SINCE = \(5, 9\)", f"REPLACES_SINCE = {since}", program, flags=re.MULTILINE)
    with listening() as (server, port):
        filters = {"notifying": connect_filter(notify=True), "allowing": connect_filter(notify=False)}
        encoded = {name: base64.b64encode(text).decode() for name, text in filters.items()}
        settings = {"port": port, "url": f"http://127.0.0.1:{port}", **encoded}
        payload = {"program": program, "settings": settings, "tries": TRIES}
        limited, text = host.value("python", python(BUILD), json.dumps(payload), whole=True)
        heard = b""
        for _ in range(4):
            connection, _ = server.accept()
            with connection:
                heard += connection.recv(100)
        server.settimeout(0.05)
        with pytest.raises(TimeoutError):
            server.accept()

    assert heard == b"blocking timeout thread child "
    said = json.loads(text.splitlines()[-1])
    for attempt in ("blocking", "in a thread", "in a child"):
        assert said.pop(attempt) == [True, False]
    assert said.pop("with a timeout") == [False, False]
    if host.mode == "process" or since == "(99, 0)":  # Landlock alone, which knows ports
        assert said.pop("another host") == "ECONNREFUSED"
        if not limited:
            del said["another port"], said["https"]
    assert set(said.values()) <= {"EACCES", "EPROTONOSUPPORT"}, said


def test_each_error_names_the_rule(host: Host, language: str) -> None:
    with listening() as (server, port):
        said = host.value(language, ERRORS[language], json.dumps({"port": port}), network="none")
        server.settimeout(0.05)
        with pytest.raises(TimeoutError):
            server.accept()

    assert {name: text for name, text in said.items() if RULE not in text} == {}


def test_an_error_that_the_function_does_not_handle_names_the_rule(host: Host, language: str) -> None:
    outcome = host.run(language, LETTING_THROUGH[language], network="none")

    assert outcome.error is not None
    assert RULE in outcome.error.message


def test_where_no_session_can_be_handed_over_the_database_says_so(host: Host, language: str) -> None:
    body = {
        "python": "try:\n    zmesh.db.query('select 1')\nexcept Exception as error:\n    return str(error)",
        "javascript": "return zmesh.db.query('select 1').then(() => 'done', (error) => error.message);",
    }[language]

    assert host.value(language, body, network="none").startswith(f"{RULE}, and the platform has no database session")


def test_programs_processes_and_threads_work_without_network(host: Host, language: str) -> None:
    assert host.value(language, ORDINARY[language], network="none") == ["asyncio", [1, 2], "program"]


def test_runs_before_and_after_one_without_network_have_theirs(host: Host, language: str) -> None:
    body = {
        "python": "import socket\nsocket.create_connection(('127.0.0.1', payload), 5).close()\nreturn 1",
        "javascript": "await new Promise((resolve) => require('net').connect(payload, '127.0.0.1', resolve)); return 1;",
    }[language]
    with listening() as (_, port):
        for network in ("open", "none", "open"):
            outcome = host.run(language, body, str(port), network=network)
            assert outcome.status == ("success" if network == "open" else "error")


@pytest.mark.parametrize("kind", ["root"])
def test_the_first_run_of_a_heap_size_gets_its_session_too(kind: str, host: Host) -> None:
    body = "return zmesh.db.query('select 1').catch(() => 'asked for it')"
    with listening() as (server, port):
        limits = Limits(memory_mb=1700)  # no other test's: nothing of this size has booted
        host.run("javascript", body, network="none", limits=limits, attach=ConnectionTo(port))
        server.accept()[0].close()


@pytest.mark.parametrize("kind", ["root"])
def test_a_run_without_network_may_ask_for_a_few_sessions(kind: str, host: Host) -> None:
    body = """
    import socket
    channel = socket.socket(fileno=os.dup(3))
    for _ in range(payload):
        os.write(3, b"D" + bytes(4))
        socket.recv_fds(channel, 5, 1)
    return "all of them"
    """
    with listening() as (_, port):
        answers: list[Any] = [
            host.run("python", python(body), str(count), whole=True, network="none", attach=ConnectionTo(port))
            for count in (MOST_ATTACHMENTS, MOST_ATTACHMENTS + 1)
        ]

    assert answers[0].result_json == '"all of them"'
    assert answers[1].error.type == "protocol_error"
