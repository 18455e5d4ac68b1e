"""Connections that are lost while requests are still being answered."""

from __future__ import annotations

import asyncio


class GoneTransport(asyncio.Transport):
    """Stands in for the transport of a connection that is lost, on which the real one raises errors: requests learn of
    the loss a few at a time."""

    def is_closing(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return 0

    def write(self, data: object) -> None: ...

    def write_eof(self) -> None: ...

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def close(self) -> None: ...

    def abort(self) -> None: ...
