"""TypeScript and JSX, compiled once for each version of a function, in a process of its own before its first run.

That process is confined as a run is, has no network, and executes none of the function's code. What it makes is kept
for the versions used last, so that their other runs compile nothing.
"""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from pathlib import Path

from sandbox.confinement.limits import Limits
from sandbox.model import RunOutcome, RunRequest

MOST_BYTES = 64 * 1024 * 1024
LIMITS = Limits(timeout_ms=20_000)
_ENDINGS = (b'.ts"', b'.tsx"', b'.jsx"', b'.mts"', b'.cts"')  # of paths in JSON
Source = tuple[str, str, str, bytes | None]
Run = Callable[[RunRequest, asyncio.Event], Awaitable[RunOutcome]]


class Compiler:
    """Has code compiled by runs of the sandbox's own."""

    def __init__(self, sdk: Path, run: Run) -> None:
        self._code = f"exports.handler = require({json.dumps(str(sdk / 'javascript' / 'compile.js'))}).handler;"
        self._run = run
        self._known: OrderedDict[Source, bytes | None] = OrderedDict()  # the least recently used first
        self._bytes = 0
        self._compiling: dict[Source, asyncio.Lock] = {}

    async def compiled(self, request: RunRequest, cancel: asyncio.Event) -> bytes | None:
        """The JavaScript of its files, as JSON: path → text. None where there is none, or it could not be made: the run
        then compiles by itself what Node.js can."""
        if request.runtime != "node":
            return None
        source = (request.language, request.entry_file or request.filename, request.code, request.files)
        # Only the first of several runs that begin together compiles.
        async with self._compiling.setdefault(source, asyncio.Lock()):
            try:
                if source not in self._known:
                    if not _has_types(request):
                        return None
                    outcome = await self._run(self._request(source), cancel)
                    if outcome.status != "success" and (cancel.is_set() or _is_of_platform(outcome)):
                        return None  # the next run tries again
                    self._keep(source, outcome.result_json)
                self._known.move_to_end(source)
                return self._known[source]
            finally:
                self._compiling.pop(source, None)

    def _request(self, source: Source) -> RunRequest:
        language, filename, code, files = source
        payload = json.dumps({"language": language, "filename": filename, "code": code})
        if files is not None:
            payload = f'{payload[:-1]}, "files": {files.decode()}}}'
        return RunRequest("javascript", self._code, "handler", "compile", payload, limits=LIMITS, network="none")

    def _keep(self, source: Source, result: str | None) -> None:
        compiled = None if result in (None, "{}") else result.encode()
        self._known[source] = compiled
        self._bytes += _size(source, compiled)
        while self._bytes > MOST_BYTES and len(self._known) > 1:
            self._bytes -= _size(*self._known.popitem(last=False))


def _has_types(request: RunRequest) -> bool:
    if request.language == "typescript":
        return True
    return request.files is not None and any(ending in request.files for ending in _ENDINGS)


def _is_of_platform(outcome: RunOutcome) -> bool:
    return outcome.error is not None and outcome.error.type == "sandbox_failed"


def _size(source: Source, compiled: bytes | None) -> int:
    _, _, code, files = source
    return len(code) + len(files or b"") + len(compiled or b"")
