"""HTTP requests to functions, as the API passes them to the runtimes, and what the runtimes answer."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
import types
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import parse_qs, unquote, urlsplit

from tests.sdk.runtimes import SDK, Ending, job_of, run

sys.path.insert(0, str(SDK / "python"))
from zmesh_runtime import handlers, serving
from zmesh_runtime.channel import Channel
from zmesh_runtime.failures import Code, failure_of
from zmesh_runtime.frames import ERROR
from zmesh_runtime.zmesh import Zmesh

ROOT = "/api/functions/send-welcome"


@dataclass(frozen=True, slots=True)
class Answer:
    """A response, whole or streamed. `completed_early`: its client had all of it before the run ended."""

    status: int
    headers: dict[str, Any]
    body: bytes
    ending: Ending
    pieces: int
    completed_early: bool

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def logged(self) -> str:
        return "\n".join(f"{level} {line}" for level, line in self.ending.lines)


def exchange(
    language: str,
    code: str,
    method: str = "GET",
    target: str = "/",
    *,
    body: bytes = b"",
    headers: dict[str, str] | None = None,
    **options: Any,
) -> Answer:
    """One request to the code."""
    return answer_of(run(language, code, context={"request": request(method, target, body, headers)}, **options))


def request(method: str, target: str, body: bytes = b"", headers: dict[str, str] | None = None) -> dict[str, Any]:
    """What the context of a run says of such a request."""
    path, query = urlsplit(target)[2:4]
    return {
        "method": method,
        "path": unquote(path).rstrip("/") or "/",
        "raw_path": path,
        "raw_query": query,
        "scheme": "https",
        "root_path": ROOT,
        "headers": {"host": "shop.example:8700", **(headers or {})},
        "query": parse_qs(query, keep_blank_values=True),
        "body_base64": base64.b64encode(body).decode(),
    }


def run_here(code: str, payload: Any = None, **options: Any) -> Ending:
    """What becomes of Python code that is loaded into this process, which takes no time."""
    job = job_of("python", code, **options)
    module = types.ModuleType("application")
    exec(job["code"], module.__dict__)
    ending = Ending()
    channel = cast(Channel, SimpleNamespace(send=lambda kind, body: ending.finals.append((kind.decode(), body))))
    try:
        result = handlers.call(handlers.handler_of(module, job), payload, Zmesh(job["context"], job["env"]))
        kind, body = serving._result_frame(result, None, channel)
    except Exception as error:
        kind, body = ERROR, failure_of(error, Code("", None)).frame()
    finally:
        _close_loop()
    channel.send(kind, body)
    return ending


def _close_loop() -> None:
    """What the end of its process does to the loop of a run."""
    if (loop := handlers._loop) is not None:
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
        handlers._loop = None


def answer_of(ending: Ending) -> Answer:
    """The one response of a run."""
    kinds = "".join(kind for kind, _ in ending.finals)
    if kinds == "H":
        status, headers, body = ending.response
        return Answer(status, headers, body, ending, 1, completed_early=False)
    assert kinds == "S" + "C" * (len(kinds) - 2) + "Z", ending.finals
    head = json.loads(ending.finals[0][1])
    pieces = [piece for kind, piece in ending.finals if kind == "C"]
    early = bool(pieces) and pieces[-1] == b""
    return Answer(head["status"], head["headers"], b"".join(pieces), ending, len(pieces) - early, early)
