"""What the sandbox tells its template: how all runs are confined, and which process to make next."""

from __future__ import annotations

import json
import struct
from dataclasses import asdict, dataclass, field, fields
from typing import Literal

from sandbox.model import Runtime

LIMITS = struct.Struct("=QQ")  # what a supervisor is told when the job is known: bytes of memory, CPU seconds

Mode = Literal["root", "user_namespace", "process"]


@dataclass(frozen=True, slots=True)
class TemplateSettings:
    """What is the same for every run of a template.

    In mode `process` there are no namespaces, and workspaces are folders below `run_dir`; `base_uid` is the
    user of slot 0 when the template runs as root, else None. `packages` are what runs of Python can import:
    name → where it is. With `native` runs are forked from booted runtimes.
    """

    mode: Mode
    run_dir: str
    sdk: str
    readable: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    packages: dict[str, str] = field(default_factory=dict)
    base_uid: int | None = None
    slots: int = 1
    native: bool = False

    def encode(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, text: bytes) -> TemplateSettings:
        return cls(**json.loads(text))


@dataclass(frozen=True, slots=True)
class SpawnOrder:
    """One process to make, confined and waiting for its job.

    A run of Node.js is a fork of the `node_template` of that number or, where that is 0, becomes the program of `argv`.
    `data_bytes` and `cpu_seconds` are limits that must stand before the job is known; 0 is none.
    """

    run: int
    slot: int
    runtime: Runtime
    argv: list[str]
    node_template: int
    processes: int
    open_files: int
    file_bytes: int
    workspace_mb: int
    workspace_files: int
    data_bytes: int = 0
    cpu_seconds: int = 0


@dataclass(frozen=True, slots=True)
class KillOrder:
    """End a run whose supervisor does not answer."""

    run: int


@dataclass(frozen=True, slots=True)
class NodeTemplateOrder:
    """Start the process of a number that runs of Node.js are forked from; without `argv`, end it."""

    node_template: int
    argv: list[str]


Order = SpawnOrder | KillOrder | NodeTemplateOrder
_KINDS: dict[str, type[Order]] = {kind.__name__: kind for kind in (SpawnOrder, KillOrder, NodeTemplateOrder)}
_FIELDS = {kind: [field.name for field in fields(kind)] for kind in _KINDS.values()}


def encode_order(order: Order) -> bytes:
    """One message to the template."""
    kind = type(order)
    return json.dumps([kind.__name__, *(getattr(order, name) for name in _FIELDS[kind])]).encode()


def decode_order(message: bytes) -> Order:
    """The order of such a message."""
    kind, *values = json.loads(message.decode())
    return _KINDS[kind](*values)
