"""`zmesh run --inspect`: real clients of both debuggers attach, stop at a breakpoint, look around and go on."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from cli.errors import CliError
from cli.functions.declared import read_declared
from cli.invocations import inspecting
from cli.invocations.history import print_line
from cli.invocations.running import with_paths
from cli.platform.processes import free_port
from tests.platform import eventually

JAVASCRIPT = """const twice = (number) => {
  const result = number * 2;
  return result;
};
exports.handler = async (payload) => {
  console.log('called');
  return twice(payload.n) + Number(zmesh.env.MORE);
};
"""
TYPESCRIPT = """import { twice } from "./lib/twice.ts";
export const handler = async (payload: { n: number }) => {
  console.log("called");
  return twice(payload.n) + Number(zmesh.env.MORE);
};
"""
TWICE = "export const twice = (number: number): number => {\n  const result = number * 2;\n  return result;\n};\n"
PYTHON = """from lib.twice import twice


def handler(payload, zmesh):
    print("called")
    return twice(payload["n"]) + int(zmesh.env.MORE)
"""
TWICE_IN_PYTHON = "def twice(number):\n    result = number * 2\n    return result\n"
INSPECTED = """
import sys
from pathlib import Path

from cli.functions.declared import read_declared
from cli.invocations.inspecting import run_inspected
from cli.invocations.running import with_paths

source = Path(sys.argv[1])
function = with_paths(read_declared(source).code, source)
list(run_inspected(function, source, {"entry_point": "handler", "env_vars": {}}, {}, {}, int(sys.argv[2])))
"""
CONTEXT = {"project_id": "p", "function": "f", "database_url": "postgresql://nobody@127.0.0.1:1/none"}


class Run:
    """A run that is inspected, in a thread."""

    def __init__(self, source: Path, payload: Any = None, **settings: Any) -> None:
        self.port = free_port()
        self.ended: Mapping[str, Any] = {}
        self.lines: list[str] = []
        function = with_paths(read_declared(source).code, source)
        wanted = {"entry_point": "handler", "env_vars": {"MORE": "1"}, **settings}
        self._run = inspecting.run_inspected(function, source, wanted, payload or {"n": 20}, CONTEXT, self.port)
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        for ended in self._run:
            self.ended = ended
            if "status" not in ended:
                print_line(dict(ended))
                self.lines.append(ended["message"])

    def end(self) -> Mapping[str, Any]:
        self._thread.join()
        return self.ended


class Chrome:
    """A client of Node.js's debugger: the protocol of Chrome's developer tools."""

    def __init__(self, port: int) -> None:
        targets = eventually(lambda: _targets(port), "the debugger of Node.js")
        self._open = ExitStack()
        self._socket = self._open.enter_context(connect(targets[0]["webSocketDebuggerUrl"], max_size=None))
        self._last = 0
        self._events: list[dict[str, Any]] = []

    def call(self, method: str, **parameters: Any) -> Any:
        self._last += 1
        self._socket.send(json.dumps({"id": self._last, "method": method, "params": parameters}))
        while (message := json.loads(self._socket.recv())).get("id") != self._last:
            self._events.append(message)
        return message["result"]

    def event(self, method: str) -> Any:
        """The next one of this name."""
        while True:
            for event in self._events:
                if event["method"] == method:
                    self._events.remove(event)
                    return event["params"]
            self._events.append(json.loads(self._socket.recv()))

    def close(self) -> None:
        self._open.close()


class DebugAdapter:
    """A client of debugpy: the Debug Adapter Protocol, as editors speak it."""

    def __init__(self, port: int) -> None:
        self._open = ExitStack()
        connection = self._open.enter_context(eventually(lambda: _connection(port), "debugpy"))
        self._socket, self._stream = connection, self._open.enter_context(connection.makefile("rb"))
        self._last = 0
        self._events: list[dict[str, Any]] = []

    def send(self, command: str, **arguments: Any) -> int:
        self._last += 1
        request = {"seq": self._last, "type": "request", "command": command, "arguments": arguments}
        body = json.dumps(request).encode()
        self._socket.sendall(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        return self._last

    def call(self, command: str, **arguments: Any) -> Any:
        number = self.send(command, **arguments)
        while (message := self._receive()).get("request_seq") != number:
            self._events.append(message)
        assert message["success"], message
        return message.get("body")

    def event(self, name: str) -> Any:
        """The next one of this name."""
        while True:
            for event in self._events:
                if event.get("event") == name:
                    self._events.remove(event)
                    return event.get("body")
            self._events.append(self._receive())

    def _receive(self) -> dict[str, Any]:
        length = int(self._stream.readline().partition(b":")[2])
        self._stream.readline()
        message: dict[str, Any] = json.loads(self._stream.read(length))
        return message

    def close(self) -> None:
        self._open.close()


def _connection(port: int) -> socket.socket | None:
    try:
        return socket.create_connection(("127.0.0.1", port))
    except OSError:
        return None


def _listens(port: int) -> bool:
    """Without connecting: debugpy's adapter takes a first client for its debugger."""
    local = f"0100007F:{port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()]
    return any(row[1] == local and row[3] == "0A" for row in rows)


def _targets(port: int) -> Any:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list") as answer:
            return json.load(answer)
    except OSError:
        return None


def put(folder: Path, files: Mapping[str, str]) -> None:
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


@pytest.mark.parametrize(
    ("files", "source", "stop"),
    [
        ({"double.js": JAVASCRIPT}, "double.js", "double.js"),
        ({"double/index.ts": TYPESCRIPT, "double/lib/twice.ts": TWICE}, "double", "double/lib/twice.ts"),
        (
            {"double/index.ts": TYPESCRIPT.replace("./lib", "../_lib"), "_lib/twice.ts": TWICE},
            "double",
            "_lib/twice.ts",
        ),
    ],
)
def test_a_debugger_of_node_stops_at_a_line_of_the_authors_file(
    tmp_path: Path, files: Mapping[str, str], source: str, stop: str
) -> None:
    put(tmp_path, files)
    run = Run(tmp_path / source)
    debugger = Chrome(run.port)
    debugger.call("Debugger.enable")
    debugger.call("Debugger.setBreakpointByUrl", url=(tmp_path / stop).resolve().as_uri(), lineNumber=2)
    debugger.call("Runtime.runIfWaitingForDebugger")
    paused = debugger.event("Debugger.paused")
    [frame] = paused["callFrames"][:1]
    assert frame["location"]["lineNumber"] == 2
    found = debugger.call("Debugger.evaluateOnCallFrame", callFrameId=frame["callFrameId"], expression="result")
    assert found["result"]["value"] == 40
    assert run.lines == ["called"]
    debugger.call("Debugger.resume")
    debugger.close()
    assert (run.end()["status"], run.end()["result"]) == ("success", 41)
    assert {path.name for path in tmp_path.rglob("*")} == {part for path in files for part in Path(path).parts}


@pytest.mark.parametrize(
    ("files", "source", "stop"),
    [
        ({"double.py": f"{TWICE_IN_PYTHON}\n\n{PYTHON.partition(chr(10))[2]}"}, "double.py", "double.py"),
        ({"double/main.py": PYTHON, "double/lib/twice.py": TWICE_IN_PYTHON}, "double", "double/lib/twice.py"),
        (
            {"double/main.py": PYTHON.replace("lib", "_lib"), "_lib/twice.py": TWICE_IN_PYTHON},
            "double",
            "_lib/twice.py",
        ),
    ],
)
def test_debugpy_stops_at_a_line_of_the_authors_file(
    tmp_path: Path, files: Mapping[str, str], source: str, stop: str
) -> None:
    put(tmp_path, files)
    run = Run(tmp_path / source)
    debugger = DebugAdapter(run.port)
    debugger.call("initialize", adapterID="test", pathFormat="path")
    debugger.send("attach", justMyCode=True)
    debugger.event("initialized")
    where = str((tmp_path / stop).resolve())
    [breakpoint] = debugger.call("setBreakpoints", source={"path": where}, breakpoints=[{"line": 3}])["breakpoints"]
    debugger.call("configurationDone")
    stopped = debugger.event("stopped")
    frame = debugger.call("stackTrace", threadId=stopped["threadId"])["stackFrames"][0]
    assert (stopped["reason"], frame["source"]["path"], frame["line"]) == ("breakpoint", where, breakpoint["line"])
    assert debugger.call("evaluate", expression="result", frameId=frame["id"], context="watch")["result"] == "40"
    debugger.send("continue", threadId=stopped["threadId"])
    ended = run.end()
    debugger.close()
    assert (ended["status"], ended["result"], run.lines) == ("success", 41, ["called"])
    assert {path.name for path in tmp_path.rglob("*")} == {part for path in files for part in Path(path).parts}


def test_a_port_that_is_taken_is_refused_before_anything_starts(tmp_path: Path) -> None:
    put(tmp_path, {"double.js": JAVASCRIPT})
    with socket.create_server(("127.0.0.1", 0)) as other:
        function = with_paths(read_declared(tmp_path / "double.js").code, tmp_path / "double.js")
        port = other.getsockname()[1]
        with pytest.raises(CliError) as refused:
            next(inspecting.run_inspected(function, tmp_path, {"env_vars": {}}, {}, CONTEXT, port))
    assert refused.value.code == "port_in_use"


def test_an_error_names_the_files_as_always(tmp_path: Path) -> None:
    put(tmp_path, {"bad.js": "exports.handler = () => {\n  throw new TypeError('no');\n};\n"})
    run = Run(tmp_path / "bad.js")
    debugger = Chrome(run.port)
    debugger.call("Runtime.runIfWaitingForDebugger")
    debugger.close()
    ended = run.end()
    assert (ended["status"], ended["error"]["type"]) == ("error", "TypeError")
    assert "(bad.js:2:9)" in ended["error"]["stack"] or "at bad.js:2:9" in ended["error"]["stack"]


@pytest.mark.parametrize(
    ("name", "code"), [("double.js", JAVASCRIPT), ("double.py", "def handler(payload, zmesh): ...")]
)
def test_nothing_waits_for_a_debugger_once_the_command_was_killed(tmp_path: Path, name: str, code: str) -> None:
    put(tmp_path, {name: code})
    port = free_port()
    said = tmp_path / "stderr"
    with said.open("wb") as stderr:
        command = subprocess.Popen([sys.executable, "-c", INSPECTED, name, str(port)], cwd=tmp_path, stderr=stderr)
    eventually(lambda: _listens(port) and "Waiting for a debugger" in said.read_text(), "a debugger that waits")
    command.kill()
    command.wait()
    eventually(lambda: not _listens(port), "the end of the run")
