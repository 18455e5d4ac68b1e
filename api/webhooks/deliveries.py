"""Messages of webhooks: verified, then accepted with one INSERT."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from api.batching import Batcher
from api.database import Database
from api.http.encodings import decompressed
from api.http.json_bodies import PARSING, SMALL
from api.http.problems import Problem, not_found
from api.invoking.calls import CallResult, new_id
from api.invoking.invoker import Invoker
from api.invoking.payloads import NULL, Headers, payload_of, unparsed_reason
from api.webhooks.signatures import Rules, verified_message_id
from sql import webhooks
from sql.invocations import Delivery, NewInvocation
from sql.webhooks import WebhookTarget, secret_purpose
from support.sealing import Sealer


@dataclass(frozen=True, slots=True)
class Message:
    """A verified message; `id` is its sender's, `payload` and `request` are JSON texts."""

    webhook: WebhookTarget
    id: str | None
    payload: str
    request: str
    traceparent: str | None


async def read_message(headers: Headers, body: bytes) -> tuple[str, str | None]:
    """The payload, and why it is null: a sender does not repeat its message because we cannot read it."""
    content_type = headers.get("content-type", "")
    try:
        payload = await payload_of(await decompressed(body, headers.get("content-encoding", "")), content_type)
    except Problem as problem:
        return NULL, problem.detail
    return payload, unparsed_reason(payload, body, content_type)


class WebhookMessages:
    """Finds webhooks by token, many at once, verifies their messages and accepts them."""

    def __init__(self, database: Database, invoker: Invoker, sealer: Sealer) -> None:
        self._database = database
        self._invoker = invoker
        self._sealer = sealer
        self._lookups: Batcher[str, WebhookTarget | None] = Batcher(self._read)

    async def find(self, token: str) -> WebhookTarget:
        """The webhook with this token. Raises Problem 404, also if it is disabled."""
        webhook = await self._lookups.ask(token)
        if webhook is None or not webhook.enabled:
            raise not_found("webhook")
        return webhook

    async def verified_message_id(self, webhook: WebhookTarget, headers: Headers, body: bytes) -> str | None:
        """The sender's id of the message. Raises Problem 401 where the signature does not fit."""
        secrets = [self._sealer.open(sealed, secret_purpose(webhook.id)) for sealed in webhook.sealed_secrets]
        rules = Rules(webhook.preset, secrets, webhook.replay_window_seconds, webhook.signature_header)
        if len(body) <= SMALL:
            return verified_message_id(rules, headers, body)
        return await PARSING.run(verified_message_id, rules, headers, body)

    def secret_of(self, webhook: WebhookTarget) -> str:
        """The secret of a webhook; empty where its preset has none."""
        return "".join(self._sealer.open(sealed, secret_purpose(webhook.id)) for sealed in webhook.sealed_secrets[:1])

    async def accept(self, message: Message) -> tuple[UUID, bool]:
        """The invocation of a message, and whether it is new."""
        return await self._invoker.deliver(self._delivery(message))

    async def accept_and_wait(self, message: Message) -> CallResult:
        """The same, and wait for the end of the function; a message that came before gets the same answer."""
        return await self._invoker.deliver_and_wait(self._delivery(message), message.webhook.timeout_ms)

    @staticmethod
    def _delivery(message: Message) -> Delivery:
        webhook = message.webhook
        invocation = NewInvocation(
            id=new_id(),
            project_id=webhook.project_id,
            function=webhook.function,
            payload=message.payload,
            request=message.request,
            source="webhook",
            traceparent=message.traceparent,
        )
        return Delivery(webhook.id, message.id, invocation)

    async def _read(self, tokens: list[str]) -> list[WebhookTarget | None]:
        found = await self._database.read(lambda connection: webhooks.by_token(connection, tokens))
        by_token = {webhook.token: webhook for webhook in found}
        return [by_token.get(token) for token in tokens]
