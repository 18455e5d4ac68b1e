"""Webhooks, as people manage them and as senders call them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from sql.rows import fetch_all, fetch_one, fetch_value

COLUMNS = """w.id, w.project_id, w.function_id, f.slug as function, w.name, w.token, w.preset, w.enabled,
             w.created_at, w.replay_window_seconds, w.signature_header, w.answer,
             case when w.previous_secret_valid_until > zmesh.now() then w.previous_secret_valid_until end
             as previous_secret_valid_until"""

CREATE = """
    select zmesh.create_webhook(%(id)s, %(project_id)s, %(function_id)s, %(name)s, %(token)s, %(preset)s,
                                %(sealed_secret)s, %(replay_window_seconds)s, %(signature_header)s, %(answer)s)
"""


@dataclass(frozen=True, slots=True)
class Webhook:
    """An inbound URL of a function, without its secret."""

    id: UUID
    project_id: UUID
    function_id: UUID
    function: str
    name: str
    token: str
    preset: str
    enabled: bool
    created_at: datetime
    replay_window_seconds: int
    signature_header: str | None
    answer: str
    previous_secret_valid_until: datetime | None


@dataclass(frozen=True, slots=True)
class NewWebhook:
    """A webhook to insert; the id is the caller's own, since the secret is sealed for it."""

    id: UUID
    project_id: UUID
    function_id: UUID
    name: str
    token: str
    preset: str
    sealed_secret: bytes | None
    replay_window_seconds: int
    signature_header: str | None
    answer: str


def secret_purpose(webhook_id: UUID) -> str:
    """What a webhook's secret is sealed for."""
    return f"webhook {webhook_id}"


async def insert_webhook(connection: AsyncConnection, webhook: NewWebhook) -> None:
    """Create a webhook. Raises UniqueViolation where the name is taken."""
    await connection.execute(CREATE, asdict(webhook))


async def list_webhooks(
    connection: AsyncConnection,
    project_id: UUID,
    name: str | None,
    after_name: str,
    limit: int,
    of_functions: list[UUID] | None = None,
) -> list[Webhook]:
    """The webhooks after this name, in the order of their names; with `name`, the one that is called so; only those of
    some functions, where given."""
    return await fetch_all(
        connection,
        Webhook,
        f"""
        select {COLUMNS} from zmesh.webhooks w join zmesh.functions f on f.id = w.function_id
         where w.project_id = %s and w.name > %s and w.name = coalesce(%s, w.name)
           and (%s::uuid[] is null or w.function_id = any (%s::uuid[]))
         order by w.name limit %s
        """,
        (project_id, after_name, name, of_functions, of_functions, limit),
    )


async def find_webhook(connection: AsyncConnection, project_id: UUID, id: UUID) -> Webhook | None:
    """One webhook of a project."""
    return await fetch_one(
        connection,
        Webhook,
        f"""
        select {COLUMNS} from zmesh.webhooks w join zmesh.functions f on f.id = w.function_id
         where w.project_id = %s and w.id = %s
        """,
        (project_id, id),
    )


CHANGEABLE = (
    *("name", "function_id", "preset", "enabled", "sealed_secret"),
    *("replay_window_seconds", "signature_header", "answer"),
)


async def update_webhook(connection: AsyncConnection, id: UUID, changes: Mapping[str, Any]) -> None:
    """Change these columns; a new secret ends the ones before. Raises UniqueViolation where the name is taken."""
    values = {name: changes[name] for name in CHANGEABLE if name in changes}
    if values.get("sealed_secret") is not None:
        values["sealed_secret"] = f"\\x{values['sealed_secret'].hex()}"  # as PostgreSQL writes bytea
    if "function_id" in values:
        values["function_id"] = str(values["function_id"])
    await connection.execute("select zmesh.change_webhook(%s, %s)", (id, Jsonb(values)))


async def rotate_secret(connection: AsyncConnection, id: UUID, sealed_secret: bytes, grace_seconds: int) -> None:
    """Replace the secret; the one before stays valid for a while."""
    await connection.execute(
        "select zmesh.rotate_webhook_secret(%s, %s, make_interval(secs => %s))", (id, sealed_secret, grace_seconds)
    )


async def delete_webhook(connection: AsyncConnection, project_id: UUID, id: UUID) -> bool:
    """Whether there was one."""
    return bool(await fetch_value(connection, "select zmesh.delete_webhook(%s, %s)", (project_id, id)))


@dataclass(frozen=True, slots=True)
class WebhookTarget:
    """The webhook a sender's token stands for; `enabled` only with its function."""

    token: str
    id: UUID
    project_id: UUID
    function: str
    timeout_ms: int
    preset: str
    sealed_secret: bytes | None
    sealed_previous_secret: bytes | None
    replay_window_seconds: int
    signature_header: str | None
    answer: str
    enabled: bool
    public_errors: bool

    @property
    def sealed_secrets(self) -> list[bytes]:
        """The secrets that are valid now, the current one first."""
        return [sealed for sealed in (self.sealed_secret, self.sealed_previous_secret) if sealed is not None]


async def by_token(connection: AsyncConnection, tokens: Sequence[str]) -> list[WebhookTarget]:
    """The webhooks of these tokens, as far as they exist."""
    return await fetch_all(
        connection,
        WebhookTarget,
        """
        select w.token, w.id, w.project_id, f.slug as function, f.timeout_ms, w.preset, w.sealed_secret,
               case when w.previous_secret_valid_until > zmesh.now() then w.sealed_previous_secret end
               as sealed_previous_secret, w.replay_window_seconds, w.signature_header, w.answer,
               w.enabled and f.enabled as enabled, f.public_errors
          from zmesh.webhooks w join zmesh.functions f on f.id = w.function_id
         where w.token = any (%s)
        """,
        (list(tokens),),
    )


@dataclass(frozen=True, slots=True)
class NewRequest:
    """A request to a webhook, to record. `request` is the JSON text of a refused one."""

    id: UUID
    webhook_id: UUID
    invocation_id: UUID | None
    body_size: int
    status_code: int
    verdict: str
    client: str
    code: str | None = None
    detail: str | None = None
    message_id: str | None = None
    request: str | None = None
    test: bool = False


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """A request that a webhook received. `headers`, and `request` with the body, are JSON texts. `event` is the event
    that the body names, and `beginning` is how the payload begins."""

    id: UUID
    webhook_id: UUID
    invocation_id: UUID | None
    invocation_status: str | None
    received_at: datetime
    body_size: int
    status_code: int
    verdict: str
    test: bool
    client: str
    code: str | None
    detail: str | None
    message_id: str | None
    event: str | None
    beginning: str | None
    headers: str | None
    request: str | None


# Where senders name the event of a message: Slack in the first, Stripe and Standard Webhooks in the second.
_EVENTS = ", ".join(
    f"""jsonb_path_query_first(i.payload, '$.{path} ? (@.type() == "string")')"""
    for path in ("event.type", "type", "event", "event_type", "topic")
)
_LARGEST_SHOWN = 16 * 1024  # as stored: a larger payload is not converted to text just for its beginning
_RECEIVED = f"""
    select r.id, r.webhook_id, r.invocation_id, i.status as invocation_status, r.received_at, r.body_size,
           r.status_code, r.verdict, r.test, r.client, r.code, r.detail, r.message_id,
           left(coalesce({_EVENTS}) #>> '{{{{}}}}', 100) as event,
           case when pg_column_size(i.payload) <= {_LARGEST_SHOWN} then left(i.payload::text, 200) end as beginning,
           (coalesce(r.request, i.request) -> 'headers')::text as headers, {{request}} as request
      from zmesh.webhook_requests r left join zmesh.invocations i on i.id = r.invocation_id
"""


async def record_requests(connection: AsyncConnection, requests: Sequence[NewRequest]) -> None:
    """Record requests in one statement; those of deleted webhooks are left out."""
    rows = [{**asdict(one), "request": one.request and json.loads(one.request)} for one in requests]
    values = [{name: str(v) if isinstance(v, UUID) else v for name, v in row.items()} for row in rows]
    await connection.execute("select zmesh.record_webhook_requests(%s)", (Jsonb(values),))


async def list_requests(
    connection: AsyncConnection, webhook_id: UUID, verdict: str | None, before: UUID, limit: int
) -> list[ReceivedRequest]:
    """The requests of a webhook before this id, latest first, without their bodies."""
    return await fetch_all(
        connection,
        ReceivedRequest,
        f"""
        {_RECEIVED.format(request="null::text")}
         where r.webhook_id = %s and r.id < %s and r.verdict = coalesce(%s, r.verdict) order by r.id desc limit %s
        """,
        (webhook_id, before, verdict, limit),
    )


async def find_request(connection: AsyncConnection, webhook_id: UUID, id: UUID) -> ReceivedRequest | None:
    """One request of a webhook, with its body if that was kept."""
    query = f"{_RECEIVED.format(request='coalesce(r.request, i.request)::text')} where r.webhook_id = %s and r.id = %s"
    return await fetch_one(connection, ReceivedRequest, query, (webhook_id, id))


async def target_of(connection: AsyncConnection, webhook_id: UUID) -> WebhookTarget | None:
    """What the webhook's token stands for, by the webhook's id."""
    token = await fetch_all(connection, _Token, "select token from zmesh.webhooks where id = %s", (webhook_id,))
    found = await by_token(connection, [one.token for one in token])
    return found[0] if found else None


@dataclass(frozen=True, slots=True)
class _Token:
    token: str
