"""Signs in as a project's role without holding the event loop.

The role may change its own password verifier and settings, and with them the server's answers: how many rounds of
hashing libpq does to prove that it knows the password, and how long the warnings are that it reads into memory.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import ConnStatus, PGconn, PollingStatus
from psycopg.pq import abc as pq

from sql.connecting import with_required_auth

MOST_ROUNDS = 10_000  # of SCRAM, about 10 ms; our own verifiers have 1, PostgreSQL's have 4,096
MOST_BYTES = 32 * 1024  # of what the server sends at a time: parameters, and some warnings
LARGEST_CHALLENGE = 1024
PEEK_AGAIN_SECONDS = 0.01
SECONDS = 5.0
_CHALLENGE = 11  # AuthenticationSASLContinue
_HEAD = 9  # bytes: the message's type and length, and what it asks for


class UsesTls(Exception):
    """The connection is encrypted, so only libpq can see what the server asks for."""


class AnswerRefused(psycopg.OperationalError):
    """What the server sent for this role would take too long to process."""


async def signed_in(url: str, **options: Any) -> pq.PGconn:
    """A session that is ready for queries. Raises UsesTls, psycopg.Error, OSError."""
    pgconn = PGconn.connect_start((await conninfo(url, **options)).encode())
    try:
        async with asyncio.timeout(SECONDS):
            status = pgconn.connect_poll()
            while status in (PollingStatus.READING, PollingStatus.WRITING):
                await _ready(pgconn.socket, writing=status == PollingStatus.WRITING)
                if await _has_come(pgconn.socket):
                    status = pgconn.connect_poll()
                if pgconn.ssl_in_use and pgconn.status != ConnStatus.SSL_STARTUP:
                    raise UsesTls
        if status != PollingStatus.OK:
            raise psycopg.OperationalError(pgconn.get_error_message())
    except BaseException:
        pgconn.finish()
        raise
    return pgconn


async def _has_come(descriptor: int) -> bool:
    """Check what the server has sent before libpq reads it; False, after a moment, if it is incomplete. Raises
    AnswerRefused."""
    answer = _peek(descriptor)
    if len(answer) >= MOST_BYTES:
        too_much = f"the server sent more than {MOST_BYTES >> 10} KiB at once"
        raise AnswerRefused(f"{too_much}: reset settings of the role that are very long or invalid")
    if not _is_whole(answer):
        await asyncio.sleep(PEEK_AGAIN_SECONDS)
        return False
    if _rounds(answer) > MOST_ROUNDS:
        raise AnswerRefused("the verifier of the role's password has too many iterations: set the password again")
    return True


def _peek(descriptor: int) -> bytes:
    waiting = socket.socket(fileno=descriptor)
    try:
        return waiting.recv(MOST_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except OSError:
        return b""  # nothing has arrived, or the connection is lost, which libpq will find out
    finally:
        waiting.detach()


def _is_whole(answer: bytes) -> bool:
    """False for the beginning of a possible challenge, which arrives alone, since the server waits for the reply."""
    if answer[:1] != b"R":
        return True
    if len(answer) < _HEAD:
        return False
    return not _is_challenge(answer) or _is_oversized(answer) or len(answer) > _length(answer)


def _is_challenge(answer: bytes) -> bool:
    return answer[:1] == b"R" and int.from_bytes(answer[5:_HEAD], "big") == _CHALLENGE


def _length(answer: bytes) -> int:
    length: int = struct.unpack("!i", answer[1:5])[0]
    return length


def _is_oversized(answer: bytes) -> bool:
    return _length(answer) > LARGEST_CHALLENGE


def _rounds(answer: bytes) -> float:
    if not _is_challenge(answer):
        return 0
    rounds = answer[_HEAD : _length(answer) + 1].rpartition(b",i=")[2]
    return int(rounds) if rounds.isdigit() and not _is_oversized(answer) else float("inf")


async def conninfo(url: str, **options: Any) -> str:
    """The connection string with the server's addresses: libpq would block the event loop while it resolves names.
    Raises OSError."""
    parts = conninfo_to_dict(with_required_auth(url), **options)
    if not parts.get("hostaddr"):
        hosts = str(parts.get("host") or "/").split(",")
        parts["hostaddr"] = ",".join([await _address(host) for host in hosts]) if any(hosts) else ""
    return make_conninfo("", **{name: value for name, value in parts.items() if value != ""})


async def _address(host: str) -> str:
    if not host or host.startswith(("/", "@")):
        return ""
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return str(found[0][4][0])


async def _ready(descriptor: int, writing: bool) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    if writing:
        loop.add_writer(descriptor, ready.set)
    else:
        loop.add_reader(descriptor, ready.set)
    try:
        await ready.wait()
    finally:
        if writing:
            loop.remove_writer(descriptor)
        else:
            loop.remove_reader(descriptor)
