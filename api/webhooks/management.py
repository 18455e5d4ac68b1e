"""Management of webhooks."""

from __future__ import annotations

import secrets
from operator import attrgetter
from typing import Annotated
from uuid import UUID, uuid4

from litestar import Router, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import JSONBody, PathParameter, QueryParameter

from api.auth.credentials import DEPLOY_KEYS, CallerRequest, role
from api.auth.functions import function_of
from api.database import Database
from api.http.endpoints import BEARER, problems
from api.http.paging import Cursor, Limit, Page, read_cursor
from api.http.problems import invalid, not_found
from api.webhooks.models import NewWebhookDetails, Rotation, WebhookChange, WebhookDetails, WebhookToCreate
from api.webhooks.signatures import WITH_OWN_HEADER, check_secret, new_secret
from sql import webhooks
from sql.webhooks import NewWebhook, Webhook, secret_purpose
from support.sealing import Sealer

Id = Annotated[UUID, PathParameter(description="Id of the webhook.")]


async def _webhook(database: Database, request: CallerRequest, id: UUID) -> Webhook:
    project_id = request.user.project_id
    webhook = await database.read(lambda c: webhooks.find_webhook(c, project_id, id))
    if webhook is None or not request.user.may_see(webhook.function_id):
        raise not_found("webhook", id)
    return webhook


def _sealed(sealer: Sealer, id: UUID, secret: str | None) -> bytes | None:
    return None if secret is None else sealer.seal(secret, secret_purpose(id))


def _header(preset: str, name: str | None) -> str | None:
    """Raises Problem 422 for a preset whose header is fixed."""
    if name is not None and preset not in WITH_OWN_HEADER:
        raise invalid("signature_header", f"the header of the preset {preset} is fixed")
    return None if name is None else name.lower()


@get(
    "/webhooks", operation_id="listWebhooks", opt={DEPLOY_KEYS: True}, summary="List webhooks", responses=problems(422)
)
async def list_webhooks(
    request: CallerRequest,
    database: NamedDependency[Database],
    name: Annotated[str | None, QueryParameter(max_length=100, description="Only the one with this name.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[WebhookDetails]:
    """Ordered by name; without their secrets."""
    after, project_id = read_cursor(cursor, str, ""), request.user.project_id
    if name is not None and "\x00" in name:
        return Page[WebhookDetails](items=[], next_cursor=None)
    found = await database.read(
        lambda c: webhooks.list_webhooks(c, project_id, name, after, limit + 1, request.user.named_functions)
    )
    return Page[WebhookDetails].of(found, limit, WebhookDetails.of, attrgetter("name"))


@post(
    "/webhooks",
    operation_id="createWebhook",
    opt={DEPLOY_KEYS: True},
    summary="Create a webhook",
    guards=[role("developer")],
    responses=problems(403, 404, 409, 422),
)
async def create_webhook(
    request: CallerRequest,
    database: NamedDependency[Database],
    sealer: NamedDependency[Sealer],
    data: JSONBody[WebhookToCreate],
) -> NewWebhookDetails:
    """Configure the sender with `path` and `secret`. If the sender chooses the secret, set it afterwards."""
    function = await function_of(database, request, data.function_id)
    if data.secret is not None:
        check_secret(data.preset, data.secret)
    secret, id = data.secret or new_secret(data.preset), uuid4()
    webhook = NewWebhook(
        id=id,
        project_id=function.project_id,
        function_id=function.id,
        name=data.name or f"{function.slug[:90]}-{secrets.token_hex(3)}",
        token=secrets.token_urlsafe(32),
        preset=data.preset,
        sealed_secret=_sealed(sealer, id, secret),
        replay_window_seconds=data.replay_window_seconds,
        signature_header=_header(data.preset, data.signature_header),
        answer=data.answer,
    )
    async with database.changing(request.user.project_id) as connection:
        await webhooks.insert_webhook(connection, webhook)
    return NewWebhookDetails.with_secret(await _webhook(database, request, id), secret)


@get(
    "/webhooks/{id:uuid}",
    operation_id="getWebhook",
    opt={DEPLOY_KEYS: True},
    summary="Read a webhook",
    responses=problems(404),
)
async def get_webhook(request: CallerRequest, database: NamedDependency[Database], id: Id) -> WebhookDetails:
    """Without its secret."""
    return WebhookDetails.of(await _webhook(database, request, id))


@patch(
    "/webhooks/{id:uuid}",
    operation_id="updateWebhook",
    opt={DEPLOY_KEYS: True},
    summary="Update a webhook",
    guards=[role("developer")],
    responses=problems(403, 404, 409, 422),
)
async def update_webhook(
    request: CallerRequest,
    database: NamedDependency[Database],
    sealer: NamedDependency[Sealer],
    id: Id,
    data: JSONBody[WebhookChange],
) -> WebhookDetails:
    """`secret` replaces the current one at once, for senders that choose it when the URL is entered. To keep the old
    one valid for a while, rotate it instead."""
    webhook = await _webhook(database, request, id)
    changes = data.changes()
    if "secret" in changes:
        check_secret(webhook.preset, changes["secret"])
        changes["sealed_secret"] = _sealed(sealer, id, changes.pop("secret"))
    if "signature_header" in changes:
        changes["signature_header"] = _header(webhook.preset, changes["signature_header"])
    async with database.changing(request.user.project_id) as connection:
        await webhooks.update_webhook(connection, id, changes)
    return WebhookDetails.of(await _webhook(database, request, id))


@post(
    "/webhooks/{id:uuid}/rotate",
    operation_id="rotateWebhookSecret",
    summary="Rotate a webhook's secret",
    guards=[role("developer")],
    status_code=200,
    responses=problems(403, 404, 422),
)
async def rotate_secret(
    request: CallerRequest,
    database: NamedDependency[Database],
    sealer: NamedDependency[Sealer],
    id: Id,
    data: JSONBody[Rotation],
) -> NewWebhookDetails:
    """Until `previous_secret_valid_until` messages are accepted with either secret, so that none is lost while the
    new one is entered at the sender."""
    webhook = await _webhook(database, request, id)
    secret = data.secret or new_secret(webhook.preset)
    if secret is None:
        raise invalid("", "the preset none has no secret")
    check_secret(webhook.preset, secret)
    sealed = sealer.seal(secret, secret_purpose(id))
    async with database.changing(request.user.project_id) as connection:
        await webhooks.rotate_secret(connection, id, sealed, data.grace_seconds)
    return NewWebhookDetails.with_secret(await _webhook(database, request, id), secret)


@delete(
    "/webhooks/{id:uuid}",
    operation_id="deleteWebhook",
    opt={DEPLOY_KEYS: True},
    summary="Delete a webhook",
    guards=[role("developer")],
    responses=problems(403, 404),
)
async def delete_webhook(request: CallerRequest, database: NamedDependency[Database], id: Id) -> None:
    """Its URL stops working."""
    webhook = await _webhook(database, request, id)
    async with database.changing(request.user.project_id) as connection:
        if not await webhooks.delete_webhook(connection, webhook.project_id, id):
            raise not_found("webhook", id)


router = Router(
    "/",
    route_handlers=[list_webhooks, create_webhook, get_webhook, update_webhook, rotate_secret, delete_webhook],
    guards=[role("viewer")],
    security=BEARER,
    tags=["webhooks"],
)
