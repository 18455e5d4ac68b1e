"""What Python encodes and decodes of the messages to templates and supervisors (table.py); orders.c has C's part."""

from __future__ import annotations

import json
import os
import struct
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from sandbox.confinement.limits import MOST_LOCKS, Limits, StandingLimits
from sandbox.protocol.table import MESSAGES

Mode = Literal["root", "user_namespace", "process"]


@dataclass(frozen=True, slots=True)
class ImageSettings:
    """What a template of one image has to do, before it is ready: import `preload`, within these limits. If it `loads`
    code, that comes along in a file.

    `path` is below the folder of images, empty for code without packages. `node` is the command of Node.js, without it
    the runtime is Python. Where the host is root, `uid` is the user of all processes.
    """

    path: str
    preload: list[str]
    node: list[str]
    loads: bool
    network: bool
    uid: int | None
    memory_bytes: int
    seconds: float


@dataclass(frozen=True, slots=True)
class TemplateSettings:
    """What is the same for every run of a template.

    In mode `process` there are no namespaces, and workspaces are folders below `run_dir`; `base_uid` is the
    user of slot 0 when the template runs as root, else None. `packages` are what runs of Python can import:
    name → where it is. With `native` runs are forked from booted runtimes. `images` is the folder that holds images;
    with an `image`, runs are forked with the packages of that one loaded, and see no other.
    """

    mode: Mode
    run_dir: str
    sdk: str
    readable: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    packages: dict[str, str] = field(default_factory=dict)
    images: str = ""
    image: ImageSettings | None = None
    base_uid: int | None = None
    slots: int = 1
    native: bool = False

    def encode(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, text: bytes) -> TemplateSettings:
        values = json.loads(text)
        image = values.pop("image")
        return cls(**values, image=None if image is None else ImageSettings(**image))


# Orders to the template


@dataclass(frozen=True, slots=True)
class SpawnOrder:
    """One process to make, confined and waiting for its job.

    A run of Node.js is a fork of the `node_template` of that number or, where that is 0, becomes the program of `argv`.
    One without a `network` is confined as such from the start.
    `image` is the path of the packages it sees below the folder of images, "" for none.
    """

    run: int
    slot: int
    argv: list[str]
    node_template: int
    network: bool
    limits: StandingLimits
    image: str = ""


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
_FIELDS = {kind: [field.name for field in fields(kind)] for kind in (*_KINDS.values(), StandingLimits)}


def encode_order(order: Order) -> bytes:
    """One message to the template."""
    return json.dumps([type(order).__name__, *_values(order)], default=_values).encode()


def _values(value: Any) -> list[Any]:
    return [getattr(value, name) for name in _FIELDS[type(value)]]


def decode_order(message: bytes) -> Order:
    """The order of such a message."""
    kind, *values = json.loads(message.decode())
    if kind == SpawnOrder.__name__:
        at = _FIELDS[SpawnOrder].index("limits")
        values[at] = StandingLimits(*values[at])
    return _KINDS[kind](*values)


# Orders to a supervisor


@dataclass(frozen=True, slots=True)
class WatchOrder:
    """The job is known: end the run when its processes together exceed one of these."""

    memory_bytes: int
    cpu_seconds: int
    locks: int


_WATCH = struct.Struct(MESSAGES["WATCH"].body)
CONCLUDE, END = MESSAGES["CONCLUDE"].kind, MESSAGES["END"].kind


def encode_watch(limits: Limits) -> bytes:
    """The order to watch a run of these limits."""
    return _WATCH.pack(MESSAGES["WATCH"].kind, limits.memory_bytes, limits.cpu_seconds, MOST_LOCKS)


def decode_watch(message: bytes) -> WatchOrder:
    """The order of such a message. Raises ValueError."""
    if len(message) != _WATCH.size or message[:1] != MESSAGES["WATCH"].kind:
        raise ValueError(f"a supervisor has no order of {len(message)} bytes that begins with {message[:1]!r}")
    return WatchOrder(*_WATCH.unpack(message)[1:])


# Between the template and the program that makes supervisors

_PLAN_BYTES = struct.Struct("!Q")
_NUMBER = struct.Struct(MESSAGES["MADE"].body)


def encode_plans(of_supervisor: bytes, of_run: bytes) -> bytes:
    """The order to make a supervisor that carries out one plan, and then its run, which carries out the other."""
    return _PLAN_BYTES.pack(len(of_supervisor)) + of_supervisor + of_run


def decode_made(message: bytes) -> int:
    """The process number of a supervisor that was made. Raises OSError."""
    if len(message) != _NUMBER.size:
        raise OSError(f"the program that makes supervisors failed: {message.decode('utf-8', 'replace')}")
    number: int = _NUMBER.unpack(message)[0]
    if number < 0:
        raise OSError(-number, os.strerror(-number), "making a supervisor")
    return number
