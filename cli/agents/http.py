"""The tools over HTTP, in the API's process. Each request is served by itself, with the credentials that it brings."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Mapping
from contextvars import ContextVar
from email.message import Message
from typing import TYPE_CHECKING, Any

from mcp.server.transport_security import TransportSecuritySettings

from cli.agents.plans import SignedPlans, UsedUp
from cli.agents.server import Offered, serving, tools_of
from cli.client import Client
from cli.config import Connection, claims_of
from cli.errors import CliError
from cli.output import QUIET
from support.api_keys import is_api_key

if TYPE_CHECKING:
    from api.agents import Ask, Serve

LARGEST_BODY = 1024 * 1024
HERE = "http://api"  # an address that is never connected to
CHECKED_BEFORE = TransportSecuritySettings(enable_dns_rebinding_protection=False)  # api/agents.py does
TOOLS: ContextVar[Mapping[str, Offered]] = ContextVar("tools")


class InnerClient(Client):
    """Asks the API within its own process, from a thread."""

    def __init__(self, token: str, ask: Ask) -> None:
        is_key = is_api_key(token)
        super().__init__(Connection(HERE, token=None if is_key else token, api_key=token if is_key else None))
        self._ask = ask
        self._loop = asyncio.get_running_loop()

    def _exchange(
        self, method: str, path: str, data: bytes | None, headers: dict[str, str], seconds: float
    ) -> tuple[int, Message, bytes]:
        asked = asyncio.run_coroutine_threadsafe(self._asked(method, path, headers, data or b""), self._loop)
        try:
            return asked.result(seconds)
        except TimeoutError as error:
            asked.cancel()
            raise CliError(f"The API took more than {seconds:g} seconds.", code="unreachable") from error

    async def _asked(self, method: str, path: str, headers: dict[str, str], data: bytes) -> tuple[int, Message, bytes]:
        answer = await self._ask(method, path, headers, data)
        message = Message()
        for name, value in answer.headers.items():
            message[name] = value
        return answer.status, message, answer.body


def serving_with(key: bytes) -> Serve:
    """What serves requests; `key` signs the confirmations of plans, for all processes of the installation alike."""
    used = UsedUp()

    async def serve(scope: Any, receive: Any, send: Any, token: str, ask: Ask) -> None:
        plans = SignedPlans(key, _caller(token), used)
        TOOLS.set(tools_of(InnerClient(token, ask), plans))
        QUIET.set(True)
        app = made.streamable_http_app(
            json_response=True,
            stateless_http=True,
            max_request_body_size=LARGEST_BODY,
            transport_security=CHECKED_BEFORE,
        )
        async with made.session_manager.run():
            await app(scope, receive, send)

    names = {**tools_of(Client(Connection(HERE, token="none")), SignedPlans(key, "", used))}  # noqa: S106
    made = serving(lambda: TOOLS.get(names))
    logging.getLogger("mcp").setLevel(logging.WARNING)  # it tells of each request, as the API does
    return serve


def _caller(token: str) -> str:
    """The same for each token of a person in a project."""
    claims = None if is_api_key(token) else claims_of(token)
    return " ".join(claims) if claims else hashlib.sha256(token.encode()).hexdigest()
