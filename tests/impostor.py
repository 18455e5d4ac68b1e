"""A server that listens where PostgreSQL is expected, and wants to know passwords."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

Wish = Literal["cleartext", "md5", "nothing"]
_SSL_REQUEST, _GSS_REQUEST = 80877103, 80877104
_REQUESTS = {
    "cleartext": struct.pack("!cii", b"R", 8, 3),
    "md5": struct.pack("!cii4s", b"R", 12, 5, b"salt"),
    "nothing": struct.pack("!cii", b"R", 8, 0) + struct.pack("!ci1s", b"Z", 5, b"I"),
}
WISHES: tuple[Wish, ...] = ("cleartext", "md5", "nothing")


class Impostor:
    """Asks every client for what it wants; `told` is what clients answered."""

    def __init__(self, wish: Wish) -> None:
        self._wish = wish
        self._server = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._told: list[bytes] = []
        self.asked = 0
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, user: str = "zmesh_api") -> str:
        return f"postgresql://{user}:the-password@127.0.0.1:{self.port}/zmesh"

    @property
    def told(self) -> list[bytes]:
        """Everything that clients said, now that they have hung up."""
        for thread in self._threads:
            thread.join(10)
        return [words for words in self._told if words not in (b"", b"X\x00\x00\x00\x04")]  # X: goodbye

    def close(self) -> None:
        self._server.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                thread = threading.Thread(target=self._talk, args=(client,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _talk(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            client.settimeout(10)
            while int.from_bytes(client.recv(8192)[4:8]) in (_SSL_REQUEST, _GSS_REQUEST):
                client.sendall(b"N")
            self.asked += 1  # before the client, once it has the request, may hang up and be asserted on
            client.sendall(_REQUESTS[self._wish])
            while words := client.recv(8192):
                self._told.append(words)


@contextmanager
def impostor(wish: Wish) -> Iterator[Impostor]:
    """One that listens for as long as the block runs."""
    server = Impostor(wish)
    try:
        yield server
    finally:
        server.close()
