"""Webhooks, as people manage them and as senders call them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg import AsyncConnection

from sql.rows import fetch_all, fetch_one

COLUMNS = """w.id, w.project_id, w.function_id, f.slug as function, w.name, w.token, w.preset, w.enabled,
             w.created_at, w.sealed_secret"""


@dataclass(frozen=True, slots=True)
class Webhook:
    """An inbound URL of a function, its secret still sealed."""

    id: UUID
    project_id: UUID
    function_id: UUID
    function: str
    name: str
    token: str
    preset: str
    enabled: bool
    created_at: datetime
    sealed_secret: bytes | None


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


def secret_purpose(webhook_id: UUID) -> str:
    """What a webhook's secret is sealed for."""
    return f"webhook {webhook_id}"


async def insert_webhook(connection: AsyncConnection, webhook: NewWebhook) -> None:
    """Create a webhook. Raises UniqueViolation where the name is taken."""
    await connection.execute(
        "insert into zmesh.webhooks (id, project_id, function_id, name, token, preset, sealed_secret, created_at)"
        " values (%s, %s, %s, %s, %s, %s, %s, zmesh.now())",
        (
            webhook.id,
            webhook.project_id,
            webhook.function_id,
            webhook.name,
            webhook.token,
            webhook.preset,
            webhook.sealed_secret,
        ),
    )


async def list_webhooks(connection: AsyncConnection, project_id: UUID, after_name: str, limit: int) -> list[Webhook]:
    """The webhooks after this name, in the order of their names."""
    return await fetch_all(
        connection,
        Webhook,
        f"""
        select {COLUMNS} from zmesh.webhooks w join zmesh.functions f on f.id = w.function_id
         where w.project_id = %s and w.name > %s order by w.name limit %s
        """,
        (project_id, after_name, limit),
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


async def update_webhook(
    connection: AsyncConnection, id: UUID, name: str | None, enabled: bool | None, sealed_secret: bytes | None
) -> None:
    """Change what is not None. Raises UniqueViolation where the name is taken."""
    await connection.execute(
        """
        update zmesh.webhooks
           set name = coalesce(%s, name), enabled = coalesce(%s, enabled),
               sealed_secret = coalesce(%s, sealed_secret)
         where id = %s
        """,
        (name, enabled, sealed_secret, id),
    )


async def delete_webhook(connection: AsyncConnection, project_id: UUID, id: UUID) -> bool:
    """Whether there was one."""
    cursor = await connection.execute("delete from zmesh.webhooks where project_id = %s and id = %s", (project_id, id))
    return cursor.rowcount > 0


@dataclass(frozen=True, slots=True)
class Addressed:
    """The webhook a sender's token stands for; `enabled` only with its function."""

    token: str
    id: UUID
    project_id: UUID
    function: str
    preset: str
    sealed_secret: bytes | None
    enabled: bool


async def by_token(connection: AsyncConnection, tokens: Sequence[str]) -> list[Addressed]:
    """The webhooks of these tokens, as far as they exist."""
    return await fetch_all(
        connection,
        Addressed,
        """
        select w.token, w.id, w.project_id, f.slug as function, w.preset, w.sealed_secret,
               w.enabled and f.enabled as enabled
          from zmesh.webhooks w join zmesh.functions f on f.id = w.function_id
         where w.token = any (%s)
        """,
        (list(tokens),),
    )
