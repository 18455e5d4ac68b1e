"""A listener that runs nothing: each run sleeps as its payload says, and is recorded in a file that outlives us."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from typing import Any

from listener import main as listener
from sandbox import Report, RunError, RunOutcome, RunRequest
from sandbox.host.streams import Sink

RECORDS = "CHAOS_RECORDS"


class RecordingSandbox:
    """Appends one line at the start and one at the end of each run, which a SIGKILL cannot take back."""

    def __init__(self, **_: Any) -> None:
        self._file = os.open(os.environ[RECORDS], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    async def start(self) -> None:
        """Nothing to start."""

    async def close(self) -> None:
        os.close(self._file)

    def report(self) -> Report:
        return Report("full", "recording", [], "forked")

    def parked(self) -> dict[str, int]:
        return {}

    async def run(self, request: RunRequest, cancel: asyncio.Event, sink: Sink) -> RunOutcome:
        payload = json.loads(request.payload_json)
        self._record("start", request)
        try:
            async with asyncio.timeout(payload["ms"] / 1000):
                await cancel.wait()
        except TimeoutError:
            pass
        self._record("end", request)
        if cancel.is_set():
            return RunOutcome("cancelled", None, None, None, [], 1, 1, 1)
        if request.context["attempt"] <= payload["failures"]:
            return RunOutcome("error", None, None, RunError("Failure", "as asked for"), [], 1, 1, 1)
        return RunOutcome("success", json.dumps(payload["n"]), None, None, [], 1, 1, 1)

    def _record(self, event: str, request: RunRequest) -> None:
        context = request.context
        words = (event, context["invocation_id"], context["attempt"], os.getpid(), time.monotonic())
        os.write(self._file, (" ".join(map(str, words)) + "\n").encode())


if __name__ == "__main__":
    listener.Sandbox = RecordingSandbox  # type: ignore[assignment,misc]
    sys.exit(listener.main())
