"""The beginning of a TLS connection: which server its client asks for (RFC 8446, section 4.1.2, and RFC 6066)."""

from __future__ import annotations

import asyncio

HANDSHAKE, CLIENT_HELLO, SERVER_NAME, HOST_NAME = 22, 1, 0, 0
ENCRYPTED_HELLO = 0xFE0D  # an extension with the name of another server, encrypted (RFC 9849)
LARGEST_RECORD = 16 * 1024
VERSION_AND_RANDOM = 34


class NotHello(Exception):
    """The connection does not begin as TLS does."""


async def read_hello(reader: asyncio.StreamReader, first: bytes) -> tuple[bytes, str]:
    """The first record, of which a part was read, and the server name in it, or nothing.

    Raises NotHello, OSError, IncompleteReadError.
    """
    head = first + await reader.readexactly(5 - len(first))
    length = int.from_bytes(head[3:])
    if head[0] != HANDSHAKE or not 0 < length <= LARGEST_RECORD:
        raise NotHello
    record = await reader.readexactly(length)
    try:
        return head + record, _server_name(_Bytes(record))
    except (IndexError, UnicodeDecodeError) as error:
        raise NotHello from error


class _Bytes:
    """Reads from the front. Raises IndexError where there is too little."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __bool__(self) -> bool:
        return bool(self._data)

    def take(self, count: int) -> bytes:
        if count > len(self._data):
            raise IndexError
        taken, self._data = self._data[:count], self._data[count:]
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size))

    def vector(self, size: int) -> bytes:
        """Bytes preceded by their length, which takes `size` bytes."""
        return self.take(self.number(size))


def _server_name(record: _Bytes) -> str:
    if record.number(1) != CLIENT_HELLO:
        raise IndexError
    hello = _Bytes(record.vector(3))
    hello.take(VERSION_AND_RANDOM)
    for size in (1, 2, 1):  # session, cipher suites, compression
        hello.vector(size)
    extensions, found = _Bytes(hello.vector(2)), ""
    while extensions:
        kind, content = extensions.number(2), _Bytes(extensions.vector(2))
        if kind == ENCRYPTED_HELLO:
            raise IndexError
        if kind == SERVER_NAME:
            names = _Bytes(content.vector(2))
            found = names.vector(2).decode("ascii") if names.number(1) == HOST_NAME else ""
    return found
