"""The HTTP response that is sent on while a function makes it."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from litestar import Response
from litestar.types import Receive, Scope, Send

from api.invoking.streams import Broken, Streaming
from sql.errors import DomainError

log = logging.getLogger(__name__)
CLIENT_PATIENCE_SECONDS = 30.0
WITHOUT_BODY = (204, 304)


class StreamedResponse(Response[bytes]):
    """One that breaks off leaves its client without the end that HTTP asks for, so that nobody takes it for whole."""

    def __init__(self, streaming: Streaming, status: int, headers: list[tuple[str, str]]) -> None:
        super().__init__(b"", status_code=status)
        self._status = status
        self._streaming = streaming
        self._lines = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]

    def to_asgi_response(self, *_: Any, **__: Any) -> Any:
        return self._answer

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the end, or until the client is gone."""
        sending = asyncio.create_task(self._send(scope, send))
        gone = asyncio.create_task(_disconnected(receive))
        try:
            await asyncio.wait([sending, gone], return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                await sending
        except (Broken, DomainError, TimeoutError) as error:
            log.info("the response of %s broke off: %s", self._streaming.id, error or "its client takes nothing")
        finally:
            sending.cancel()
            gone.cancel()
            self._streaming.close()

    async def _send(self, scope: Scope, send: Send) -> None:
        await send({"type": "http.response.start", "status": self._status, "headers": self._lines})
        if scope.get("method") != "HEAD" and self._status not in WITHOUT_BODY:
            async for piece in self._streaming.pieces():
                async with asyncio.timeout(CLIENT_PATIENCE_SECONDS):
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
