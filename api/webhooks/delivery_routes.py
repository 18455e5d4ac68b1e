"""What a webhook received: its latest requests with their verdicts, a test message, and another delivery of one."""

from __future__ import annotations

import base64
from dataclasses import replace
from operator import attrgetter
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Router, get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, PathParameter, QueryParameter

from api.auth.credentials import CallerRequest, client_of, role
from api.database import Database
from api.http.endpoints import BEARER, problems
from api.http.paging import Cursor, Limit, Page, read_cursor
from api.http.problems import Problem, not_found
from api.invoking.calls import new_id
from api.webhooks.deliveries import Message, WebhookMessages, read_message
from api.webhooks.models import DeliveryDetails, DeliverySummary, TestMessage, Verdict
from api.webhooks.recording import RequestLog
from api.webhooks.signatures import secret_header_of
from api.webhooks.signing import signed_headers
from sql import webhooks
from sql.history import LAST_ID
from sql.webhooks import NewRequest, ReceivedRequest, WebhookTarget

Id = Annotated[UUID, PathParameter(description="Id of the webhook.")]
DeliveryId = Annotated[UUID, PathParameter(description="Id of the delivery.")]
ANY_AGE = 10**12  # a delivery is repeated when it is late
JSON = "application/json"
EMPTY_TARGET = {"method": "POST", "path": "/", "raw_path": "", "raw_query": "", "query": {}, "root_path": ""}


async def _target(database: Database, request: CallerRequest, id: UUID) -> WebhookTarget:
    found = await database.read(lambda c: webhooks.target_of(c, id))
    if found is None or found.project_id != request.user.project_id:
        raise not_found("webhook", id)
    return found


async def _delivery(database: Database, webhook: WebhookTarget, id: UUID) -> ReceivedRequest:
    found = await database.read(lambda c: webhooks.find_request(c, webhook.id, id))
    if found is None:
        raise not_found("delivery", id)
    return found


@get(
    "/webhooks/{id:uuid}/deliveries",
    operation_id="listDeliveries",
    summary="List a webhook's deliveries",
    responses=problems(404, 422),
)
async def list_deliveries(
    request: CallerRequest,
    database: NamedDependency[Database],
    id: Id,
    verdict: Annotated[Verdict | None, QueryParameter(description="Only those with this verdict.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[DeliverySummary]:
    """The latest requests to it, accepted and refused ones, latest first: 500 at most, for a week. Of very many in a
    second, some are left out."""
    webhook, before = await _target(database, request, id), read_cursor(cursor, UUID, LAST_ID)
    found = await database.read(lambda c: webhooks.list_requests(c, webhook.id, verdict, before, limit + 1))
    return Page[DeliverySummary].of(found, limit, DeliverySummary.of, attrgetter("id"))


@get(
    "/webhooks/{id:uuid}/deliveries/{delivery_id:uuid}",
    operation_id="getDelivery",
    summary="Read a delivery",
    responses=problems(404),
)
async def get_delivery(
    request: CallerRequest, database: NamedDependency[Database], id: Id, delivery_id: DeliveryId
) -> DeliveryDetails:
    """With its body, if that is 64 KiB or less."""
    return DeliveryDetails.of(await _delivery(database, await _target(database, request, id), delivery_id))


@post(
    "/webhooks/{id:uuid}/deliveries/{delivery_id:uuid}/redeliver",
    operation_id="redeliver",
    summary="Deliver a message again",
    guards=[role("developer")],
    status_code=202,
    responses=problems(403, 404, 409, 429),
)
async def redeliver(
    request: CallerRequest,
    database: NamedDependency[Database],
    hooks: NamedDependency[WebhookMessages],
    log: NamedDependency[RequestLog],
    id: Id,
    delivery_id: DeliveryId,
) -> DeliveryDetails:
    """Invokes the function with the same message once more. One that was refused is verified with the present secret,
    whatever its age, and is refused again if it does not fit."""
    webhook = await _target(database, request, id)
    received = await _delivery(database, webhook, delivery_id)
    if received.request is None:
        raise Problem(409, "not_kept", "The message was not kept: it is older than its retention, or large.")
    shown = msgspec.json.decode(received.request)
    headers, body = shown["headers"], base64.b64decode(shown["body_base64"])
    if received.verdict == "refused":
        if received.body_size != len(body):
            raise Problem(409, "not_kept", "The body was not kept: it is larger than 64 KiB.")
        await hooks.verified_message_id(replace(webhook, replay_window_seconds=ANY_AGE), headers, body)
    payload, _ = await read_message(headers, body)
    return await _deliver(request, database, hooks, log, Message(webhook, None, payload, received.request, None), body)


@post(
    "/webhooks/{id:uuid}/test",
    operation_id="testWebhook",
    summary="Send a webhook a signed test message",
    guards=[role("developer")],
    status_code=202,
    responses=problems(403, 404, 409, 422, 429),
)
async def test_webhook(
    request: CallerRequest,
    database: NamedDependency[Database],
    hooks: NamedDependency[WebhookMessages],
    log: NamedDependency[RequestLog],
    id: Id,
    data: JSONBody[TestMessage],
) -> DeliveryDetails:
    """Signs the payload as the sender of the webhook's preset would, verifies that, and invokes the function."""
    webhook = await _target(database, request, id)
    body = msgspec.json.encode(data.payload)
    signed = signed_headers(webhook.preset, hooks.secret_of(webhook), webhook.signature_header, body)
    headers = {"content-type": JSON, "user-agent": "zmesh-test", **signed}
    await hooks.verified_message_id(webhook, headers, body)
    payload, _ = await read_message(headers, body)
    headers.pop(secret_header_of(webhook.preset, webhook.signature_header, headers) or "", None)
    shown = {
        **EMPTY_TARGET,
        "scheme": request.scope["scheme"],
        "headers": headers,
        "body_base64": base64.b64encode(body).decode(),
    }
    message = Message(webhook, None, payload, msgspec.json.encode(shown).decode(), None)
    return await _deliver(request, database, hooks, log, message, body)


async def _deliver(
    request: CallerRequest,
    database: Database,
    hooks: WebhookMessages,
    log: RequestLog,
    message: Message,
    body: bytes,
) -> DeliveryDetails:
    if not message.webhook.enabled:
        raise Problem(409, "webhook_disabled", "The webhook or its function is disabled.", "Enable it first.")
    invocation_id, _ = await hooks.accept(message)
    recorded: dict[str, Any] = {"body_size": len(body), "status_code": 202, "verdict": "accepted", "test": True}
    new = NewRequest(new_id(), message.webhook.id, invocation_id, client=client_of(request), **recorded)
    await log.write(new)
    return DeliveryDetails.of(await _delivery(database, message.webhook, new.id))


router = Router(
    "/",
    route_handlers=[list_deliveries, get_delivery, redeliver, test_webhook],
    guards=[role("viewer")],
    security=BEARER,
    tags=["webhooks"],
)
