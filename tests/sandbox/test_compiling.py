"""TypeScript is compiled once for each version, in a process of the sandbox's own."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from sandbox import RunOutcome, RunRequest
from sandbox.host.compiling import MOST_BYTES, Compiler


class Runs:
    """Stands for the sandbox, and counts."""

    def __init__(self, status: str = "success", result: str | None = '{"f.ts":"1"}') -> None:
        self.requests: list[RunRequest] = []
        self._outcome = RunOutcome(status, result, None, None, [], 0, 0, 0)  # type: ignore[arg-type]

    async def __call__(self, request: RunRequest, cancel: asyncio.Event) -> RunOutcome:
        self.requests.append(request)
        await asyncio.sleep(0)
        return self._outcome


def compiled(runs: Runs, *requests: RunRequest) -> list[bytes | None]:
    compiler = Compiler(Path("/sdk"), runs)

    async def all_at_once() -> list[bytes | None]:
        return await asyncio.gather(*(compiler.compiled(request, asyncio.Event()) for request in requests))

    return asyncio.run(all_at_once())


def request(code: str = "let a: string;", language: str = "typescript", files: bytes | None = None) -> RunRequest:
    return RunRequest(language, code, "handler", "f.ts", "{}", files=files)  # type: ignore[arg-type]


def test_runs_of_one_version_have_it_compiled_once_without_network() -> None:
    runs = Runs()
    assert compiled(runs, *[request()] * 5) == [b'{"f.ts":"1"}'] * 5
    [one] = runs.requests
    assert (one.network, one.language) == ("none", "javascript")
    assert json.loads(one.payload_json) == {"language": "typescript", "filename": "f.ts", "code": "let a: string;"}


def test_each_version_is_compiled_with_its_files() -> None:
    runs = Runs()
    compiled(runs, request(), request("let b"), request(files=b'{"a.tsx":""}'))
    assert [json.loads(one.payload_json).get("files") for one in runs.requests] == [None, None, {"a.tsx": ""}]


def test_code_without_typescript_costs_no_process() -> None:
    runs = Runs()
    assert compiled(runs, request(language="javascript"), request(language="python")) == [None, None]
    assert compiled(runs, request(language="javascript", files=b'{"a.js":"","b.txt":""}')) == [None]
    assert runs.requests == []
    compiled(runs, request(language="javascript", files=b'{"view.jsx":""}'))
    assert len(runs.requests) == 1


def test_what_cannot_be_compiled_is_not_tried_again_for_each_run() -> None:
    runs = Runs("error", None)
    assert compiled(runs, request(), request()) == [None, None]
    assert len(runs.requests) == 1


def test_what_is_kept_is_bounded() -> None:
    runs = Runs(result=json.dumps({"f.ts": "x" * (MOST_BYTES // 3)}))
    compiled(runs, *[request(f"let a{n % 4}") for n in range(8)])
    assert len(runs.requests) > 4
