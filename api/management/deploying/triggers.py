"""Schedules, webhooks and aliases as a deployment of a project creates, changes and deletes them."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID, uuid4

from psycopg import AsyncConnection

from api.http.problems import Problem, invalid
from api.management.deploying.reconciling import Made, Settings
from api.management.models.deployments import Kind
from api.webhooks.signatures import WITH_OWN_HEADER, new_secret
from sql import deployments, schedules, versions, webhooks
from sql.catalog import Function
from sql.webhooks import NewWebhook, secret_purpose
from support.sealing import Sealer

ALL = 100_000


class FunctionsByName:
    """The functions that a trigger can name, by name or slug."""

    def __init__(self, functions: Iterable[Function]) -> None:
        found = list(functions)
        by_slug = {function.slug: function for function in found}
        self._named = by_slug | {function.name: function for function in found}

    def of(self, name: str) -> Function:
        """Raises Problem 404."""
        if name not in self._named:
            raise Problem(
                404,
                "function_not_found",
                f'There is no function "{name}" for a trigger to invoke. Nothing was deployed.',
                "Name a function that is declared; without prune, also another one of the project.",
            )
        return self._named[name]

    def with_slug(self, settings: Settings) -> Settings:
        """Settings of a trigger with the function's slug, as the database has it. Raises Problem 404."""
        return {**settings, "function": self.of(settings["function"]).slug}


class Schedules:
    """Those of a project. Their settings have a digest in place of the payload, which may be large."""

    kind: Kind = "schedule"
    field = "schedules"

    def __init__(
        self,
        connection: AsyncConnection,
        project_id: UUID,
        functions: FunctionsByName,
        payloads: Mapping[str, str],
    ) -> None:
        """`payloads` are JSON texts by the names of declared schedules."""
        self._connection, self._project_id, self._functions = connection, project_id, functions
        self._payloads = payloads
        self._ids: dict[str, UUID] = {}

    async def current(self) -> dict[str, Settings]:
        found = await deployments.schedules(self._connection, self._project_id)
        self._ids = {schedule.name: schedule.id for schedule in found}
        names = ("function", "cron", "timezone", "overlap", "missed", "enabled", "payload")
        return {schedule.name: {name: getattr(schedule, name) for name in names} for schedule in found}

    async def create(self, name: str, settings: Settings) -> Made:
        columns = {**self._columns(name, settings), "name": name}
        await schedules.insert_schedule(self._connection, self._project_id, columns)
        return Made()

    async def change(self, name: str, before: Settings, settings: Settings) -> Made:
        await schedules.update_schedule(self._connection, self._ids[name], self._columns(name, settings))
        return Made()

    async def delete(self, name: str) -> None:
        await schedules.delete_schedule(self._connection, self._project_id, self._ids[name])

    def _columns(self, name: str, settings: Settings) -> dict[str, Any]:
        columns = {key: value for key, value in settings.items() if key != "function"}
        function = self._functions.of(settings["function"])
        return {**columns, "function_id": function.id, "payload": self._payloads[name]}


class Webhooks:
    """Those of a project. Secrets are made here and told once; people set others afterwards."""

    kind: Kind = "webhook"
    field = "webhooks"

    def __init__(
        self, connection: AsyncConnection, project_id: UUID, functions: FunctionsByName, sealer: Sealer
    ) -> None:
        self._connection, self._project_id, self._functions = connection, project_id, functions
        self._sealer = sealer
        self._ids: dict[str, UUID] = {}

    async def current(self) -> dict[str, Settings]:
        found = await webhooks.list_webhooks(self._connection, self._project_id, None, "", ALL)
        self._ids = {webhook.name: webhook.id for webhook in found}
        names = ("function", "preset", "replay_window_seconds", "signature_header", "answer", "enabled")
        return {webhook.name: {name: getattr(webhook, name) for name in names} for webhook in found}

    async def create(self, name: str, settings: Settings) -> Made:
        _check_header(settings)
        secret, id = new_secret(settings["preset"]), uuid4()
        webhook = NewWebhook(
            id=id,
            project_id=self._project_id,
            function_id=self._functions.of(settings["function"]).id,
            name=name,
            token=secrets.token_urlsafe(32),
            sealed_secret=self._sealed(id, secret),
            **{key: value for key, value in settings.items() if key not in ("function", "enabled")},
        )
        await webhooks.insert_webhook(self._connection, webhook)
        if not settings["enabled"]:
            await webhooks.update_webhook(self._connection, id, {"enabled": False})
        return Made(f"/hooks/{webhook.token}", secret)

    async def change(self, name: str, before: Settings, settings: Settings) -> Made:
        """Another preset takes another form of secret, so it gets a new one."""
        _check_header(settings)
        changes = {key: value for key, value in settings.items() if key != "function"}
        changes["function_id"] = self._functions.of(settings["function"]).id
        secret = None
        if settings["preset"] != before["preset"]:
            secret = new_secret(settings["preset"])
            changes["sealed_secret"] = self._sealed(self._ids[name], secret)
        await webhooks.update_webhook(self._connection, self._ids[name], changes)
        return Made(secret=secret)

    async def delete(self, name: str) -> None:
        await webhooks.delete_webhook(self._connection, self._project_id, self._ids[name])

    def _sealed(self, id: UUID, secret: str | None) -> bytes | None:
        return None if secret is None else self._sealer.seal(secret, secret_purpose(id))


def _check_header(settings: Settings) -> None:
    if settings["signature_header"] is not None and settings["preset"] not in WITH_OWN_HEADER:
        raise invalid("signature_header", f"the header of the preset {settings['preset']} is fixed")


class Aliases:
    """Those of some functions; the name of each is the function's, a slash and its own."""

    kind: Kind = "alias"
    field = "aliases"

    def __init__(self, connection: AsyncConnection, functions: FunctionsByName, of: Iterable[str]) -> None:
        self._connection = connection
        self._functions = {function.id: function for function in (functions.of(name) for name in of)}
        self._ids = {function.name: function.id for function in self._functions.values()}

    async def current(self) -> dict[str, Settings]:
        found = await deployments.aliases(self._connection, list(self._functions))
        return {f"{self._functions[one.function_id].name}/{one.name}": {"versions": one.shares} for one in found}

    async def create(self, name: str, settings: Settings) -> Made:
        function, _, alias = name.rpartition("/")
        shares = {int(version): share for version, share in settings["versions"].items()}
        await versions.set_alias(self._connection, self._ids[function], alias, shares)
        return Made()

    async def change(self, name: str, before: Settings, settings: Settings) -> Made:
        return await self.create(name, settings)

    async def delete(self, name: str) -> None:
        function, _, alias = name.rpartition("/")
        await versions.delete_alias(self._connection, self._ids[function], alias)
