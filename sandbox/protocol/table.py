"""Every message between the processes of the sandbox. The C code and both SDKs are tested against this table.

    host ── SETTINGS, SPAWN, KILL, NODE_TEMPLATE ──► template ── MAKE_SUPERVISOR ──► program that makes supervisors
     │ ▲                                                                                       │ clones itself
     │ └────────── REPORT ─────────┐                                                           ▼
     │  WATCH, CONCLUDE, END       └────────────────────────────────────────────────────── supervisor
     ├────────────────────────────────────────────────────────────────────────────────────►    │ FORK
     │  frames                                                                                  ▼
     └──────────────────────────────────► run ◄────────── forks itself ────────── template of its runtime

Frames travel over a stream socket, descriptor 3 of a run: a byte for the kind, four for the length of the body, the
body. All else is one message of a SOCK_SEQPACKET socket each. Numbers are big-endian; only plans (confinement/plan.py)
are laid out as the machine's own C does. What a run sends is hostile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

CHANNEL = 3  # the descriptor of a run that leads to the host
ORDERS = 3  # the descriptor on which a template, or the program that makes supervisors, takes orders
CODE = 4  # the descriptor of the file with the code that a template loads
FRAME_HEAD = "!cI"
KIB = 1024
MOST_ATTACHMENTS = 16  # of a run without network
# In runs without network, connecting to an address of so many bytes seems to begin: confinement/seccomp.py.
PRETENDED_ADDRESS_BYTES = 101
LONGEST_LINE = 64 * KIB  # bytes of a log line's message, after which an SDK cuts it
_LONGEST_ESCAPED = 6 * LONGEST_LINE  # a control character is six in JSON


@dataclass(frozen=True, slots=True)
class Frame:
    """One kind of frame. `largest` is the most bytes of its body, which may depend on the result's limit."""

    kind: bytes
    body: Literal["json", "bytes", "nothing"]
    largest: int | Callable[[int], int] | None = None  # None: the sender is the host, whom a run believes
    most: int | None = None  # how many a run may send
    final: bool = False  # nothing that comes after it counts

    def largest_body(self, result_bytes: int) -> int | None:
        return self.largest(result_bytes) if callable(self.largest) else self.largest


FROM_RUN: Mapping[str, Frame] = {
    "BOOTED": Frame(b"B", "nothing", 0, most=1),  # Node.js only: from here on, time counts as the function's
    "LOG": Frame(b"L", "json", _LONGEST_ESCAPED + KIB),  # {at, level, message}
    "ATTACHMENT": Frame(b"D", "nothing", 0, most=1),  # asks for a descriptor
    "IMPORTED": Frame(b"I", "json", 16 * KIB, most=1),  # names of packages of its image
    "STREAM": Frame(b"S", "json", 64 * KIB),  # {status, headers} of a response that is sent in pieces
    "CHUNK": Frame(b"C", "bytes", 64 * KIB),  # an empty one is the end of the response, of a run that goes on
    "STREAMED": Frame(b"Z", "nothing", 0, final=True),  # the end of such a response
    "RESULT": Frame(b"R", "json", lambda result_bytes: result_bytes, final=True),
    # {status, headers, body_base64}
    "RESPONSE": Frame(b"H", "json", lambda result_bytes: result_bytes * 4 // 3 + 64 * KIB, final=True),
    "ERROR": Frame(b"E", "json", 1024 * KIB, final=True),  # {type, message, stack}
}
TO_RUN: Mapping[str, Frame] = {
    # {code, entry_point, filename, entry_file, has_files, language, compiled, style, env, context, limits,
    # network, image, learn, is_loaded}; a template that loads the code gets the first seven and {variables}. For a
    # debugger, `zmesh run --inspect` sends {in_place}, and is no sandbox
    "JOB": Frame(b"J", "json"),
    "FILES": Frame(b"F", "json"),  # after a job that has files: {path: text or {base64}}
    "PAYLOAD": Frame(b"P", "json"),
    "ATTACHMENT": Frame(b"D", "bytes"),  # the answer; its descriptor comes along, if there is one
}


@dataclass(frozen=True, slots=True)
class Message:
    """One kind of message on a SOCK_SEQPACKET socket, and the descriptors that come along, in this order.

    `body` is the format of a struct, or says what else it is.
    """

    sender: str
    receiver: str
    body: str
    kind: bytes = b""  # its first byte, where a socket carries several kinds
    descriptors: tuple[str, ...] = ()


OF_RUN = ("channel", "output", "errors", "supervision")
MESSAGES: Mapping[str, Message] = {
    # Between the host and the template: orders are JSON, answers a word and its arguments.
    # The descriptor is of a file with the frames JOB and FILES, only for a template that loads code.
    "SETTINGS": Message("host", "template", "JSON: TemplateSettings", descriptors=("code",)),
    "SPAWN": Message("host", "template", "JSON: SpawnOrder", descriptors=OF_RUN),
    "KILL": Message("host", "template", "JSON: KillOrder"),
    "NODE_TEMPLATE": Message("host", "template", "JSON: NodeTemplateOrder"),
    "READY": Message("template", "host", "ready"),
    "BROKEN": Message("template", "host", "broken: WHY"),
    "SPAWNED": Message("template", "host", "spawned RUN"),
    "FAILED": Message("template", "host", "failed RUN WHY"),
    "REAPED": Message("template", "host", "reaped RUN"),
    "NODE_READY": Message("template", "host", "node-ready NUMBER DATA_BYTES"),
    "NODE_GONE": Message("template", "host", "node-gone NUMBER WHY"),
    # Between the host and a supervisor.
    "WATCH": Message("host", "supervisor", "!cQQQ", b"W"),  # most bytes of memory, CPU seconds, locks on files
    "CONCLUDE": Message("host", "supervisor", "!c", b"C"),  # the result is there: report, which may be before the end
    "END": Message("host", "supervisor", "!c", b"E"),  # end the run, and report
    "REPORT": Message("supervisor", "host", "JSON: {exit, signal, cpu_seconds, peak_bytes, limit}, or {failed}"),
    # Where runs are forked from booted runtimes.
    "MAKE_SUPERVISOR": Message(
        "template",
        "program that makes supervisors",
        "!Q, bytes of the supervisor's plan; that plan; the run's plan",
        descriptors=(*OF_RUN, "runtime"),
    ),
    "MADE": Message("program that makes supervisors", "template", "!i"),  # a process number, or a negative errno
    "FORK": Message(
        "supervisor",
        "template of a runtime",
        "the run's plan",
        descriptors=(
            *("channel", "output", "errors", "answer"),
            *("pid_namespace", "mount_namespace", "ipc_namespace", "uts_namespace"),
        ),
    ),
    "FORKED": Message("template of a runtime", "supervisor", "!i", descriptors=("cpu_counter",)),  # or none
}
LARGEST_PLANS = 128 * KIB  # in MAKE_SUPERVISOR
LARGEST_PLAN = 64 * KIB  # in FORK
