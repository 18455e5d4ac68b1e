"""Translates an attempt: a claimed invocation into a RunRequest, and its RunOutcome into what is stored."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import msgspec

from listener.environments import Environment, off_the_loop
from listener.logs import numbered
from listener.postgres import storable
from observing.events import AttemptEnded
from sandbox import Attachment, InitOnce, Language, Limits, LogLine, Network, RunOutcome, RunRequest, Style
from sql.listeners import AttemptOutcome, ClaimedInvocation

SUFFIXES = {"python": "py", "javascript": "js", "typescript": "ts"}
MIB = 1024 * 1024
LONGEST_NAME = 63  # bytes of an application_name
TakeSession = Callable[[str, Mapping[str, str]], Awaitable[Attachment | None]]


def run_request(
    invocation: ClaimedInvocation,
    environment: Environment,
    files: bytes | None,
    database_url: str,
    take_session: TakeSession,
) -> RunRequest:
    """What the sandbox runs for this invocation. When the run first asks its database something, it takes a session;
    without network it takes one for each connection."""
    assert invocation.payload is not None
    name = f"zmesh {invocation.slug}"[:LONGEST_NAME]
    settings = {"zmesh.invocation_id": str(invocation.id), "application_name": name}
    return RunRequest(
        language=cast(Language, invocation.language),
        code=invocation.code,
        entry_point=invocation.entry_point,
        filename=f"{invocation.slug}.{SUFFIXES[invocation.language]}",
        files=files,
        entry_file=invocation.entry_file,
        style=cast(Style | None, invocation.style),
        init_once=_init_once(invocation),
        payload_json=invocation.payload,
        env=environment.variables,
        context={
            "project_id": str(invocation.project_id),
            "invocation_id": str(invocation.id),
            "attempt": invocation.attempt,
            "source": invocation.source,
            "function": invocation.slug,
            "version": invocation.version,
            "traceparent": invocation.traceparent,
            "database_url": "" if invocation.dry_run else _own_url(database_url, invocation),
            "dry_run": invocation.dry_run,
            "request": None if invocation.request is None else msgspec.Raw(invocation.request.encode()),
        },
        limits=Limits(timeout_ms=invocation.timeout_ms, memory_mb=invocation.memory_mb),
        background=not invocation.waited,
        network="none" if invocation.dry_run else cast(Network, invocation.network),
        attach=lambda: take_session(database_url, settings),
    )


def _own_url(database_url: str, invocation: ClaimedInvocation) -> str:
    return f"{database_url}?options=-c%20zmesh.invocation_id%3D{invocation.id}"


def _init_once(invocation: ClaimedInvocation) -> InitOnce | None:
    if invocation.init != "once":
        return None
    return InitOnce(str(invocation.project_id), str(invocation.function_id), invocation.version)


def with_notice(invocation: ClaimedInvocation, outcome: RunOutcome) -> RunOutcome:
    """The outcome; where its function is to be initialized once and cannot be, its log says why."""
    if invocation.init != "once" or not outcome.refused:
        return outcome
    text = f"init = once has no effect on this run: {outcome.why_imported}"
    return replace(outcome, logs=[*outcome.logs, LogLine(datetime.now(UTC), "warning", text)])


async def outcome_of(
    invocation: ClaimedInvocation, environment: Environment, outcome: RunOutcome, written: int = 0
) -> AttemptOutcome:
    """How the attempt ended; every text in it can be stored. The first `written` log lines are left out."""
    texts = [line.message for line in outcome.logs[written:]]
    if outcome.error is not None:
        texts += [outcome.error.message, outcome.error.stack or ""]
    return await off_the_loop(sum(map(len, texts)), _outcome_of, invocation, environment, outcome, written)


def _outcome_of(
    invocation: ClaimedInvocation, environment: Environment, outcome: RunOutcome, written: int
) -> AttemptOutcome:
    error: dict[str, Any] | None = None
    if outcome.error is not None:
        error = {
            "type": storable(outcome.error.type),
            "message": environment.shown(outcome.error.message),
            "stack": None if outcome.error.stack is None else environment.shown(outcome.error.stack),
        }
    return AttemptOutcome(
        id=invocation.id,
        attempt=invocation.attempt,
        status=outcome.status,
        result=outcome.result_json,
        response=outcome.response,
        error=error,
        logs=[
            {"line": number, "at": line.at.isoformat(), "level": line.level, "message": message}
            for number, line, message in numbered(outcome.logs[written:], written, environment)
        ],
        duration_ms=outcome.duration_ms,
        cpu_ms=outcome.cpu_ms,
        peak_memory_mb=-(-outcome.peak_memory_bytes // MIB),
    )


def failed_outcome(invocation: ClaimedInvocation, error_type: str, message: str) -> AttemptOutcome:
    """The outcome of an attempt that the platform could not run."""
    error = {"type": error_type, "message": storable(message), "stack": None}
    return AttemptOutcome(invocation.id, invocation.attempt, "error", None, None, error, [], 0, 0, 0)


def ended(invocation: ClaimedInvocation, outcome: AttemptOutcome, seconds: float) -> AttemptEnded:
    """The event for an attempt that took the listener so many seconds."""
    return AttemptEnded(
        invocation_id=invocation.id,
        attempt=invocation.attempt,
        language=invocation.language,
        status=outcome.status,
        error_type=outcome.error["type"] if outcome.error else None,
        start_seconds=max(0.0, seconds - outcome.duration_ms / 1000),
        seconds=outcome.duration_ms / 1000,
        cpu_seconds=outcome.cpu_ms / 1000,
        memory_bytes=outcome.peak_memory_mb * MIB,
    )
