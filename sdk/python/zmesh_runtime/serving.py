"""One run from start to end: receive it, execute it, answer, and end the process."""

from __future__ import annotations

import json
import mmap
import os
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any, NoReturn

from zmesh_runtime import files, handlers, loading, loading_once, network, packages, randomness, streaming
from zmesh_runtime.channel import Channel, Closed
from zmesh_runtime.failures import Code, Failure, failure_of, out_of_memory
from zmesh_runtime.frames import ERROR, IMPORTED, RESPONSE, RESULT, STREAMED
from zmesh_runtime.http import Response, is_stream
from zmesh_runtime.output import Output
from zmesh_runtime.results import NotJson, to_json_bytes
from zmesh_runtime.sessions import Taken
from zmesh_runtime.zmesh import Zmesh

Frame = tuple[bytes, bytes]
Job = dict[str, Any]
MakeLimiter = Callable[[], Callable[[dict[str, int]], None]]  # made before the job is received
_output = Output()
_REHEARSED: Job = {
    "code": "def handler(payload, zmesh):\n    return payload\n",
    "entry_point": "handler",
    "filename": "rehearsed.py",
    "env": {},
    "context": {
        "project_id": "",
        "invocation_id": "",
        "attempt": 1,
        "function": "rehearsed",
        "version": 1,
        "database_url": "",
        "request": None,
    },
}
RESERVE_BYTES = 512 * 1024  # freed when memory runs out, so that the failure can be reported


def serve(channel_fd: int, make_limiter: MakeLimiter = lambda: lambda limits: None) -> NoReturn:
    """Prepare, wait for a job on the channel, apply its limits to this process, execute it, and exit."""
    channel = Channel(channel_fd)
    pid = os.getpid()
    reserve = mmap.mmap(
        -1, RESERVE_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    )  # address space only: untouched pages cost nothing
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # so that a program finds its own modules
    randomness.renew()
    tempfile.tempdir = None
    _output.capture(channel)
    os.register_at_fork(after_in_child=lambda: _leave_to_parent(channel))
    _rehearse()
    limit = make_limiter()
    try:
        _, header = channel.receive()
        job = json.loads(header.decode())
        limit(job["limits"])
        others = channel.receive()[1] if job.get("has_files") else b"{}"
        packages.use(job.get("image"))
        if job.get("learn"):
            packages.learn(job["image"])
        _, payload = channel.receive()
    except Closed:
        os._exit(0)
    os.nice(job["limits"].get("nice", 0))  # before any user code, so that its threads and children inherit it
    if job.get("network") == "none":
        network.turn_off()
    kind, body = _final_frame(job, others, payload, reserve, channel)
    if os.getpid() != pid:
        os._exit(0 if kind != ERROR else 1)  # a child forked by user code returned to this point
    _output.flush()
    if job.get("learn"):
        channel.send(IMPORTED, json.dumps(packages.learned()).encode())
    channel.send(kind, body)
    channel.wait_for_end()
    os._exit(0)


def _rehearse() -> None:
    """Execute a rehearsal, so that the memory that runs write to is no longer shared with the template when the job
    arrives. Leaves nothing behind that a function could see."""
    job = json.loads(json.dumps(_REHEARSED))
    with loading.undone(job["filename"]):
        _frame_of(_run(job, b"{}", b'{"warm":[1,2.5,"\xc3\xa4",null]}'), None)


def load_once(code: int) -> str | None:
    """In a template of a function with init = once."""
    return loading_once.load_once(code, _output)


def _leave_to_parent(channel: Channel) -> None:
    channel.leave_to_parent()
    _output.leave_to_parent()


def _final_frame(job: Job, others: bytes, payload: bytes, reserve: mmap.mmap, channel: Channel) -> Frame:
    code = Code(job["filename"], os.getcwd() if job.get("entry_file") else None)
    try:
        result = _run(job, others, payload, channel.take_session)
        return _result_frame(result, job["limits"].get("result_bytes"), channel)
    except MemoryError as error:
        reserve.close()
        return ERROR, out_of_memory(error, code).frame()
    except BaseException as error:
        return ERROR, failure_of(error, code).frame()


def _run(job: Job, others: bytes, payload_text: bytes, take_session: Callable[[], Taken | None] = lambda: None) -> Any:
    try:
        payload = json.loads(payload_text.decode())
    except (ValueError, RecursionError) as error:
        raise Failure("invalid_payload", f"the payload cannot be read: {error}") from None
    zmesh = Zmesh(job["context"], job["env"], take_session)
    _set_environment(zmesh)
    module = loading_once.load(job, files.parsed(others) if job.get("entry_file") else {})
    return handlers.call(handlers.handler_of(module, job), payload, zmesh)


def _set_environment(zmesh: Zmesh) -> None:
    for name, value in zmesh.env.items():
        try:
            os.environ[name] = value
        except (ValueError, OSError):
            continue  # no operating system takes an empty name, one with "=", or a NUL; zmesh.env has it
    if "TZ" in zmesh.env:
        time.tzset()


def _result_frame(result: Any, limit: int | None, channel: Channel) -> Frame:
    if is_stream(result):
        result = Response(result)
    if isinstance(result, Response):
        if result.is_stream:
            streaming.send(channel, result)
            return STREAMED, b""
        _check_size(result.body, limit)
        return RESPONSE, result.frame()
    return _frame_of(result, limit)


def _frame_of(result: Any, limit: int | None) -> Frame:
    try:
        body = to_json_bytes(result)
    except NotJson as error:
        raise Failure("invalid_result", f"the result is not JSON: {error}") from None
    _check_size(body, limit)
    return RESULT, body


def _check_size(body: bytes, limit: int | None) -> None:
    if limit is not None and len(body) > limit:
        message = f"the result has {len(body)} bytes; at most {limit} are allowed"
        raise Failure("result_too_large", message)
