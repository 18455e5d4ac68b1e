"""Messages of PostgreSQL's protocol, on the session of a dry run."""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass, field

LARGEST_MESSAGE = 16 * 1024 * 1024
LONGEST_ERROR = 2000  # bytes: stored with the changes of a dry run
CHUNK = 64 * 1024
SET_UP = b"C\0\0\0\x08SET\0Z\0\0\0\x05I"  # what a run reads first: its settings were applied


class ProtocolError(Exception):
    """What came is no message, or too large."""


class ServerError(Exception):
    """The server's error to a query of ours; its message."""


def message(kind: bytes, body: bytes = b"") -> bytes:
    return kind + struct.pack("!i", 4 + len(body)) + body


def take(buffer: bytearray) -> tuple[bytes, bytes] | None:
    """The first message of the buffer, which is removed from it; None if it is not complete. Raises ProtocolError."""
    if len(buffer) < 5:
        return None
    length = int(struct.unpack_from("!i", buffer, 1)[0])
    if not 4 <= length <= LARGEST_MESSAGE:
        raise ProtocolError(f"a message of {length} bytes")
    if len(buffer) < 1 + length:
        return None
    found = bytes(buffer[:1]), bytes(buffer[5 : 1 + length])
    del buffer[: 1 + length]
    return found


@dataclass
class Answers:
    """Follows the messages of a server that somebody else reads: how often it was ready for a query, the state of the
    transaction at the last time (I, T or E), and how many more savepoints were made than released."""

    ready: int = 0
    transaction: str = "I"
    copies_in: bool = False
    savepoints: int = 0
    _header: bytearray = field(default_factory=bytearray)
    _kind: bytes = b""
    _tag: bytearray = field(default_factory=bytearray)  # of the command that was completed
    _left: int = 0

    def add(self, data: bytes) -> None:
        at = 0
        while at < len(data):
            if self._left == 0:
                part = data[at : at + 5 - len(self._header)]
                self._header += part
                at += len(part)
                if len(self._header) < 5:
                    return
                self._kind = bytes(self._header[:1])
                self._left = int(struct.unpack_from("!i", self._header, 1)[0]) - 4
                self._header.clear()
                if self._kind != b"N":  # a notice may come at any time
                    self.copies_in = self._kind == b"G"
                continue
            part = data[at : at + self._left]
            at += len(part)
            self._left -= len(part)
            if self._kind == b"C":
                self._tag += part
            if self._left == 0:
                self._add_message(part)

    def _add_message(self, end: bytes) -> None:
        if self._kind == b"Z":
            self.ready += 1
            self.transaction = end[-1:].decode()
        elif self._kind == b"C":
            self.savepoints += {b"SAVEPOINT\0": 1, b"RELEASE\0": -1}.get(bytes(self._tag), 0)
            self._tag.clear()


async def query(connection: socket.socket, text: str) -> list[list[str | None]]:
    """The rows of the last statement, as texts, on a session that nobody else uses.

    Raises ServerError, OSError, ProtocolError.
    """
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(connection, message(b"Q", text.encode() + b"\0"))
    buffer, rows = bytearray(), list[list[str | None]]()
    error = ""
    while True:
        while (found := take(buffer)) is not None:
            kind, body = found
            if kind == b"T":
                rows = []
            elif kind == b"D":
                rows.append(_values(body))
            elif kind == b"E":
                error = _message_of(body)
            elif kind == b"Z":
                if error:
                    raise ServerError(error)
                return rows
        data = await loop.sock_recv(connection, CHUNK)
        if not data:
            raise ConnectionResetError("the session ended")
        buffer += data


def _values(body: bytes) -> list[str | None]:
    values: list[str | None] = []
    at = 2
    for _ in range(struct.unpack_from("!h", body)[0]):
        length = struct.unpack_from("!i", body, at)[0]
        at += 4
        values.append(None if length < 0 else body[at : at + length].decode("utf-8", "replace"))
        at += max(length, 0)
    return values


def _message_of(body: bytes) -> str:
    fields = {part[:1]: part[1:] for part in body.split(b"\0") if part}
    return fields.get(b"M", b"")[:LONGEST_ERROR].decode("utf-8", "replace")
