"""Translates an attempt: from what was claimed to what the sandbox runs, and from how that ended to what is stored."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

import msgspec

from listener.environments import Environment, off_the_loop
from listener.logs import numbered
from listener.postgres import storable
from sandbox import Attachment, Language, Limits, RunOutcome, RunRequest
from sql.jobs import AttemptOutcome, Job

SUFFIXES = {"python": "py", "javascript": "js", "typescript": "ts"}
MIB = 1024 * 1024
LONGEST_NAME = 63  # bytes of an application_name
TakeSession = Callable[[str, Mapping[str, str]], Awaitable[Attachment | None]]


def run_request(job: Job, environment: Environment, database_url: str, take_session: TakeSession) -> RunRequest:
    """What the sandbox runs for this job. When the run first asks its database something, it takes a session."""
    name = f"zmesh {job.slug}"[:LONGEST_NAME]
    settings = {"zmesh.invocation_id": str(job.id), "application_name": name}
    return RunRequest(
        language=cast(Language, job.language),
        code=job.code,
        entry_point=job.entry_point,
        filename=f"{job.slug}.{SUFFIXES[job.language]}",
        payload_json=job.payload,
        env=environment.variables,
        context={
            "project_id": str(job.project_id),
            "invocation_id": str(job.id),
            "attempt": job.attempt,
            "function": job.slug,
            "version": job.version,
            "traceparent": job.traceparent,
            "database_url": f"{database_url}?options=-c%20zmesh.invocation_id%3D{job.id}",
            "request": None if job.request is None else msgspec.Raw(job.request.encode()),
        },
        limits=Limits(timeout_ms=job.timeout_ms, memory_mb=job.memory_mb),
        background=not job.waited,
        attach=lambda: take_session(database_url, settings),
    )


async def outcome_of(job: Job, environment: Environment, outcome: RunOutcome, written: int = 0) -> AttemptOutcome:
    """How the attempt ended; every text in it can be stored. The first lines, as many as are written, are left out."""
    texts = [line.message for line in outcome.logs[written:]]
    if outcome.error is not None:
        texts += [outcome.error.message, outcome.error.stack or ""]
    return await off_the_loop(sum(map(len, texts)), _outcome_of, job, environment, outcome, written)


def _outcome_of(job: Job, environment: Environment, outcome: RunOutcome, written: int) -> AttemptOutcome:
    error: dict[str, Any] | None = None
    if outcome.error is not None:
        error = {
            "type": storable(outcome.error.type),
            "message": environment.shown(outcome.error.message),
            "stack": None if outcome.error.stack is None else environment.shown(outcome.error.stack),
        }
    return AttemptOutcome(
        id=job.id,
        attempt=job.attempt,
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


def failed_outcome(job: Job, error_type: str, message: str) -> AttemptOutcome:
    """An attempt that the platform could not run."""
    error = {"type": error_type, "message": storable(message), "stack": None}
    return AttemptOutcome(job.id, job.attempt, "error", None, None, error, [], 0, 0, 0)
