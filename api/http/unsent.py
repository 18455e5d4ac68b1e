"""Bytes of responses that clients have not read, per address and in total."""

from __future__ import annotations

from asyncio import WriteTransport
from collections import Counter, OrderedDict

from api.http.admission import Bounds, subtract


class Unsent:
    """Keeps them within the limits of uploads; beyond, it closes the connection that has waited longest."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._held: OrderedDict[WriteTransport, tuple[str, int]] = OrderedDict()
        self._held_by: dict[str, OrderedDict[WriteTransport, None]] = {}
        self._of_client: Counter[str] = Counter()
        self._all = 0

    def hold(self, connection: WriteTransport, client: str, size: int) -> None:
        """Count the rest of a response until `release`; the client "" has no limit of its own."""
        self._held[connection] = client, size
        self._held_by.setdefault(client, OrderedDict())[connection] = None
        self._of_client[client] += size
        self._all += size
        while client and self._of_client[client] > self._bounds.upload_bytes_of_address:
            self._close(next(iter(self._held_by[client])))
        while self._all > self._bounds.upload_bytes:
            self._close(next(iter(self._held)))

    def release(self, connection: WriteTransport) -> None:
        """Stop counting a connection: the rest was sent, or its client has gone."""
        if connection not in self._held:
            return
        client, size = self._held.pop(connection)
        self._all -= size
        subtract(self._of_client, client, size)
        del self._held_by[client][connection]
        if not self._held_by[client]:
            del self._held_by[client]

    def _close(self, connection: WriteTransport) -> None:
        self.release(connection)
        connection.abort()
