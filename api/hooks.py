"""Messages of webhooks: verified, then accepted with one INSERT."""

from __future__ import annotations

from uuid import UUID

from api.batching import Batcher
from api.database import Database
from api.ids import new_id
from api.invoking import Invoker
from api.payloads import Headers
from api.problems import not_found
from api.signatures import verified_message_id
from sql import webhooks
from sql.invocations import Delivery, NewInvocation
from sql.sealing import Sealer
from sql.webhooks import Addressed, secret_purpose


class Hooks:
    """Looks webhooks up by token, many at once, and checks who sends."""

    def __init__(self, database: Database, invoker: Invoker, sealer: Sealer) -> None:
        self._database = database
        self._invoker = invoker
        self._sealer = sealer
        self._lookups: Batcher[str, Addressed | None] = Batcher(self._read)

    async def addressed(self, token: str) -> Addressed:
        """The webhook of a token. Raises Problem 404, for one that is switched off as well."""
        webhook = await self._lookups.ask(token)
        if webhook is None or not webhook.enabled:
            raise not_found("webhook")
        return webhook

    def verified_message_id(self, webhook: Addressed, headers: Headers, body: bytes) -> str | None:
        """The sender's id of the message. Raises Problem 401 where the signature does not fit."""
        secret = ""
        if webhook.sealed_secret is not None:
            secret = self._sealer.open(webhook.sealed_secret, secret_purpose(webhook.id))
        return verified_message_id(webhook.preset, secret, headers, body)

    async def accept(
        self, webhook: Addressed, message_id: str | None, payload: str, request: str, traceparent: str | None
    ) -> tuple[UUID, bool]:
        """The invocation of a message, and whether it is new."""
        invocation = NewInvocation(
            id=new_id(),
            project_id=webhook.project_id,
            function=webhook.function,
            payload=payload,
            request=request,
            source="webhook",
            traceparent=traceparent,
        )
        return await self._invoker.deliver(Delivery(webhook.id, message_id, invocation))

    async def _read(self, tokens: list[str]) -> list[Addressed | None]:
        found = await self._database.read(lambda connection: webhooks.by_token(connection, tokens))
        by_token = {webhook.token: webhook for webhook in found}
        return [by_token.get(token) for token in tokens]
