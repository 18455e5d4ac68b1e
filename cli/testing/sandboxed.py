"""Runs of functions in the sandbox, each within the transaction of a test."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from cli.errors import CliError
from cli.functions.building import manifest_of_function
from cli.functions.declared import Declared, read_declared
from cli.invocations.running import with_paths
from cli.testing.packages import Packages
from cli.testing.sessions import Sessions
from listener.main import platform_folders
from listener.relaying import Relay
from listener.sign_in import SignedIn
from listener.wire import ServerError, query
from sandbox import Attachment, Limits, RunOutcome, RunRequest, Sandbox, SandboxError

AT_ONCE = 4
DEFAULTS: Mapping[str, Any] = {"entry_point": "handler", "style": None, "timeout_ms": 10_000, "memory_mb": 256}
UNDO = "rollback to zmesh_1"  # the SDK's name for the savepoint of a transaction
FORGET = "deallocate all"  # the next run gives its statements the same names
Asked = Mapping[str, Any]


class SandboxedRuns:
    """A sandbox that starts with the first run."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._sandbox: Sandbox | None = None
        self._packages = Packages()
        self._starting = asyncio.Lock()

    async def run(self, asked: Asked) -> dict[str, Any]:
        """How the run ended, as the API shows invocations. Raises CliError."""
        session = self._sessions.served_by(asked["process_id"])
        if session is None:
            raise CliError("This test's database session does not pass through the sandbox.", code="session_lost")
        request, sandbox = await self._request(asked), await self._started()
        if request.runtime == "node":
            await sandbox.prepare(request.limits.memory_mb)
        async with session.lent() as lent:
            database = _DatabaseOfRun(SignedIn(*lent))
            outcome = await sandbox.run(replace(request, attach=database.attach))
            await database.settle(outcome)
        return _ended(outcome)

    async def close(self) -> None:
        """End what runs."""
        if self._sandbox is not None:
            await self._sandbox.close()
        self._packages.close()

    async def _request(self, asked: Asked) -> RunRequest:
        path = Path(asked["path"])
        declared = read_declared(path)
        manifest = manifest_of_function(declared.code)
        image = None if manifest is None else await self._packages.installed(path, manifest, Path(asked["root"]))
        return replace(request_of(asked, declared), image=image)

    async def _started(self) -> Sandbox:
        async with self._starting:
            if self._sandbox is None:
                sandbox = Sandbox(AT_ONCE, hidden=platform_folders(), images=self._packages.folder)
                try:
                    await sandbox.start()
                except SandboxError as error:
                    raise CliError(str(error), code="sandbox_failed") from error
                self._sandbox = sandbox
        return self._sandbox


class _DatabaseOfRun:
    """The one session of one run: the test's."""

    def __init__(self, session: SignedIn) -> None:
        self._session = session
        self._relay: Relay | None = None

    async def attach(self) -> Attachment | None:
        if self._relay is not None:
            return None
        self._relay = Relay(self._session)
        return self._relay.attachment()

    async def settle(self, outcome: RunOutcome) -> None:
        """Leave the session in the state that the test and the next run expect. Raises CliError."""
        if self._relay is None:
            return
        try:
            if not await self._relay.is_idle():
                raise CliError("A statement of the run did not end with the run.", code="session_lost")
            answers = self._relay.answers
            if answers.savepoints > 0 or answers.transaction == "E":  # it ended in the middle of a transaction
                await query(self._session.socket, UNDO)
            await query(self._session.socket, FORGET)
        except (OSError, ServerError) as error:
            raise CliError(f"The session cannot be used after the run: {error}", code="session_lost") from error
        finally:
            self._relay.close()


def request_of(asked: Asked, declared: Declared) -> RunRequest:
    """The run of a file or folder, as its project declares it."""
    function = with_paths(declared.code, Path(asked["path"]))
    entry = function["entry_file"]
    settings = {**DEFAULTS, "network": "open", "env_vars": {}, **declared.settings_of_runs}
    others = {name: content for name, content in function["files"].items() if name != entry}
    return RunRequest(
        language=function["language"],
        code=function["files"][entry],
        entry_point=settings["entry_point"],
        filename=entry,
        entry_file=entry,
        files=json.dumps(others).encode(),
        style=settings["style"],
        payload_json=json.dumps(asked["payload"]),
        env={**settings["env_vars"], **asked["env"]},
        context={
            **asked["context"],
            "function": function["name"],
            "database_url": "",
            "dry_run": True,  # the session is in a transaction
            "in_test": True,
        },
        limits=Limits(timeout_ms=settings["timeout_ms"], memory_mb=settings["memory_mb"]),
        network=settings["network"],
    )


def _ended(outcome: RunOutcome) -> dict[str, Any]:
    return {
        "status": outcome.status,
        "result": None if outcome.result_json is None else json.loads(outcome.result_json),
        "response": outcome.response,
        "error": None if outcome.error is None else asdict(outcome.error),
        "logs": [{"level": line.level, "message": line.message} for line in outcome.logs],
    }
