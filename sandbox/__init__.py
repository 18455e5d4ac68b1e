"""Runs code in one isolated process each. Knows no database and no HTTP.

sandbox = Sandbox(slots=8)
await sandbox.start()
outcome = await sandbox.run(RunRequest("python", code, "handler", "hello.py", '{"name": "Ada"}'))
"""

from sandbox.confinement.limits import Limits
from sandbox.confinement.seccomp import connect_filter
from sandbox.host.pool import Sandbox
from sandbox.model import (
    Attachment,
    Image,
    ImageTemplateLimits,
    ImageTemplateState,
    InitOnce,
    Language,
    LogLine,
    Network,
    Preload,
    Report,
    RunError,
    RunOutcome,
    RunRequest,
    SandboxError,
    Style,
)

__all__ = [
    "Attachment",
    "Image",
    "ImageTemplateLimits",
    "ImageTemplateState",
    "InitOnce",
    "Language",
    "Limits",
    "LogLine",
    "Network",
    "Preload",
    "Report",
    "RunError",
    "RunOutcome",
    "RunRequest",
    "Sandbox",
    "SandboxError",
    "Style",
    "connect_filter",
]
