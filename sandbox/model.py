"""What the sandbox is asked to run, and what it says of the run."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from sandbox.confinement.limits import Limits

Language = Literal["javascript", "python", "typescript"]
Network = Literal["open", "none"]
Style = Literal["lambda"]
Runtime = Literal["node", "python"]


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line that the run printed."""

    at: datetime
    level: str
    message: str


@dataclass(frozen=True, slots=True)
class Attachment:
    """An open descriptor that a run takes over, and bytes about it. Both are between the caller and the SDK."""

    descriptor: socket.socket
    data: bytes


@dataclass(frozen=True, slots=True)
class Preload:
    """Packages that are imported before runs are forked. Without `names`, what a run of the same `learned_by` was seen
    to import on this host. With `learn`, runs say what they import although that is known."""

    names: tuple[str, ...] = ()
    learned_by: str = ""
    learn: bool = False


@dataclass(frozen=True, slots=True)
class Image:
    """Installed packages for runs, in a folder of this host that nobody changes: `python/` holds what pip installs,
    `node_modules/` what npm does. `id` names the content. Only runs of one `project` with the same `preload` are forked
    from the same process.
    """

    id: str
    path: Path
    preload: Preload = Preload()
    project: str = ""


@dataclass(frozen=True, slots=True)
class InitOnce:
    """A version of a function whose top-level code is executed once, before runs are forked. The number identifies
    code and files: a higher one takes the place of a lower."""

    project: str
    function: str
    version: int


@dataclass(frozen=True, slots=True)
class ImageTemplateLimits:
    """How many processes there may be that have imported packages for runs to be forked from, with how much memory in
    all and each, how long they stay when nobody uses them, and how long their imports may take."""

    count: int = 16
    memory_mb: int = 1024
    each_mb: int = 512
    idle_seconds: float = 600.0
    import_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class ImageTemplateState:
    """A process that has imported the packages of an image, or, with `why_not`, why there is none. With `init_once`, it
    has executed that code as well, and `image` is empty where it needs no packages."""

    project: str
    image: str
    runtime: Runtime
    memory_bytes: int
    why_not: str | None
    init_once: InitOnce | None = None


@dataclass(frozen=True, slots=True)
class RunRequest:
    """One run: user code, its payload as JSON text, and the `context` that is passed to the SDK as it is.

    With an `entry_file`, the run is of a folder: `code` is the text of that file, and `files` are the others as one
    JSON object in UTF-8, path → text or {"base64": …}. The run writes them into its working directory before it loads
    the code. The `style` says how the handler is called where its form does not tell. The sandbox sets `compiled`: the
    JavaScript of files in TypeScript, as JSON. With `init_once`, the run may be forked from a process that has executed
    the code's top level, without the payload, `env` and `context`, and without a session.

    What it prints is added to `printed` at once, line by line. `attach` is called when the SDK asks for an attachment:
    once, or a few times where the `network` is none, since what comes that way is all that such a run can connect to.
    None is an answer. A run in the `background` yields to others, which somebody waits for.
    """

    language: Language
    code: str
    entry_point: str
    filename: str
    payload_json: str
    env: Mapping[str, str] = field(default_factory=dict)
    context: Mapping[str, Any] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    printed: list[LogLine] = field(default_factory=list)
    attach: Callable[[], Awaitable[Attachment | None]] | None = None
    background: bool = False
    entry_file: str | None = None
    files: bytes | None = None
    style: Style | None = None
    image: Image | None = None
    network: Network = "open"
    compiled: bytes | None = None
    init_once: InitOnce | None = None

    @property
    def runtime(self) -> Runtime:
        """The template that runs this language."""
        return "python" if self.language == "python" else "node"


@dataclass(frozen=True, slots=True)
class RunError:
    """Why a run did not succeed. `type` is a limit's or failure's stable name, or the user's exception class."""

    type: str
    message: str
    stack: str | None = None


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """How a run ended: `status` is success, error, timeout or cancelled.

    `result_json` is set on success without a response; `response` is what zmesh.response(…) made. `killed`: its process
    was ended by a signal that neither the platform nor a limit sent, or was lost.

    Of a run with an image or `init_once`: whether it was forked from a process that had imported its packages, and
    executed its code, or `imported` them by itself, `why_imported`, whether that is because forking is `refused`, and
    which packages it says it has imported, as far as that was asked for.
    """

    status: Literal["success", "error", "timeout", "cancelled"]
    result_json: str | None
    response: Mapping[str, Any] | None
    error: RunError | None
    logs: Sequence[LogLine]
    duration_ms: int
    cpu_ms: int
    peak_memory_bytes: int
    killed: bool = False
    packages: Literal["none", "forked", "imported"] = "none"
    why_imported: str | None = None
    refused: bool = False
    imported: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """How well runs are isolated here: `level` is full or reduced, `gaps` what is missing or slower than elsewhere.

    Runs of JavaScript are `forked` from a booted Node.js, or each is `started` anew.
    """

    level: Literal["full", "reduced"]
    mode: str
    gaps: Sequence[str]
    node: Literal["forked", "started"]


class SandboxError(Exception):
    """The sandbox cannot work on this machine; the message says why and what to do."""
