"""What the sandbox tells its template: how all runs are confined, and which process to make next."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Literal

Mode = Literal["root", "user_namespace", "process"]


@dataclass(frozen=True, slots=True)
class TemplateSettings:
    """What is the same for every run of a template.

    In mode `process` there are no namespaces, and workspaces are folders below `run_dir`; `base_uid` is the
    user of slot 0 when the template runs as root, else None.
    """

    mode: Mode
    run_dir: str
    sdk: str
    readable: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    base_uid: int | None = None
    slots: int = 1

    def encode(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, text: bytes) -> TemplateSettings:
        return cls(**json.loads(text))


@dataclass(frozen=True, slots=True)
class SpawnOrder:
    """One process to make, confined and waiting for its job.

    Without `argv` it is a fork of the template that will run Python, else it becomes that program. `data_bytes` and
    `cpu_seconds` are limits that must stand before the job is known; 0 is none.
    """

    run: int
    slot: int
    argv: list[str]
    processes: int
    open_files: int
    file_bytes: int
    workspace_mb: int
    workspace_files: int
    data_bytes: int = 0
    cpu_seconds: int = 0

    def encode(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, text: bytes) -> SpawnOrder:
        return cls(**json.loads(text))
