"""The application: creates its parts, injects them into the endpoints, and closes them at the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from litestar import Litestar
from litestar.datastructures import State
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from litestar.plugins.pydantic import PydanticPlugin
from litestar.types import Message, Scope
from pydantic import BaseModel

from api.auth import browser_routes as browsers
from api.auth import routes as login
from api.auth.browsers import BrowserSessions
from api.auth.credentials import Access
from api.auth.logins import Logins
from api.auth.sessions import Sessions
from api.auth.tokens import Tokens
from api.database import Database
from api.http.errors import HANDLERS
from api.http.hosts import Hosts
from api.http.json_bodies import JsonRequest
from api.invoking import routes as invoke
from api.invoking.invoker import Invoker
from api.invoking.limits import Limits
from api.invoking.streams import Streams
from api.invoking.waiting import Replies
from api.management.checking import Checker
from api.management.comparing import Comparisons
from api.management.following import Followers
from api.management.health_checks import HealthChecks
from api.management.live import LiveFeeds
from api.management.project_roles import ProjectRoles
from api.management.queue import QueueFigures
from api.management.routes import (
    builds,
    callbacks,
    changes,
    deployments,
    drafts,
    functions,
    health,
    invocations,
    keys,
    live,
    members,
    projects,
    registries,
    schedules,
    secrets,
    statistics,
    versions,
)
from api.pages import reference
from api.pages.console import console
from api.settings import Settings
from api.webhooks import delivery_routes
from api.webhooks import management as webhooks
from api.webhooks import routes as hooks
from api.webhooks.deliveries import WebhookMessages
from api.webhooks.recording import RequestLog
from observing.events import EventLoopBlocked
from observing.stream import emit
from support.garbage import deferred_full_collections
from support.loop_watch import LoopWatch
from support.sealing import Sealer
from support.tasks import end

LARGEST_BODY = 1024 * 1024
ROUTERS = [
    functions.router,
    versions.router,
    deployments.router,
    drafts.router,
    builds.router,
    invoke.router,
    invocations.router,
    statistics.router,
    live.router,
    schedules.router,
    changes.router,
    webhooks.router,
    delivery_routes.router,
    hooks.router,
    callbacks.router,
    projects.router,
    members.router,
    keys.router,
    registries.router,
    secrets.router,
    login.router,
    browsers.router,
    health.router,
    reference.router,
]


@dataclass(frozen=True, slots=True)
class Parts:
    """What lives as long as the process."""

    database: Database
    replies: Replies
    streams: Streams
    limits: Limits
    access: Access
    invoker: Invoker
    hooks: WebhookMessages
    log: RequestLog
    sessions: Sessions
    browsers: BrowserSessions
    project_roles: ProjectRoles
    sealer: Sealer
    followers: Followers
    queue: QueueFigures
    feeds: LiveFeeds
    comparisons: Comparisons
    loop_watch: LoopWatch
    project_hosts: Hosts
    checker: Checker
    health_checks: HealthChecks

    @classmethod
    def of(cls, settings: Settings) -> Parts:
        """Nothing is connected yet. Raises SealingError for a malformed secret key."""
        sealer = Sealer(settings.secret_key)
        database = Database(settings.database_url)
        streams = Streams(database)
        replies = Replies(settings.database_url, database, streams.notified)
        limits = Limits(database)
        queue = QueueFigures(database)
        invoker = Invoker(database, replies, streams, limits)
        tokens = Tokens(settings.jwt_secret_key)
        logins = Logins(database)
        return cls(
            database=database,
            replies=replies,
            streams=streams,
            limits=limits,
            access=Access(database, tokens),
            invoker=invoker,
            hooks=WebhookMessages(database, invoker, sealer),
            log=RequestLog(database),
            sessions=Sessions(database, logins, tokens),
            browsers=BrowserSessions(database, logins),
            project_roles=ProjectRoles(database, sealer, settings.database_url, settings.database_address),
            sealer=sealer,
            followers=Followers(database, replies),
            queue=queue,
            feeds=LiveFeeds(database, replies, queue),
            comparisons=Comparisons(),
            loop_watch=LoopWatch(lambda ms, stacks: emit(EventLoopBlocked(ms, stacks))),
            project_hosts=settings.project_hosts,
            checker=Checker(),
            health_checks=HealthChecks(database),
        )


def create_app(parts: Parts, openapi_config: OpenAPIConfig | None = None) -> Litestar:
    """The application around these parts; it starts while the database is down, too.

    With `openapi_config`, it can make its OpenAPI document (`api.openapi`); servers only serve the file of it.
    """

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        await parts.database.open()
        parts.replies.start()
        polling = asyncio.create_task(parts.streams.poll())
        with deferred_full_collections():
            parts.loop_watch.start()
            try:
                yield
            finally:
                parts.loop_watch.stop()
                await end([polling])
                await parts.replies.close()
                await parts.log.close()
                await parts.database.close()

    def provider(part: Any) -> Provide:
        return Provide(lambda: part, use_cache=True, sync_to_thread=False)

    return Litestar(
        [*ROUTERS, *console()],
        lifespan=[lifespan],
        state=State({"access": parts.access, "project_hosts": parts.project_hosts}),
        dependencies={
            name: provider(getattr(parts, name))
            for name in (
                "database",
                "replies",
                "invoker",
                "limits",
                "access",
                "hooks",
                "log",
                "sessions",
                "browsers",
                "project_roles",
                "sealer",
                "followers",
                "queue",
                "feeds",
                "comparisons",
                "loop_watch",
                "checker",
                "health_checks",
            )
        },
        exception_handlers=HANDLERS,
        request_class=JsonRequest,
        request_max_body_size=LARGEST_BODY,
        before_send=[_allow_every_method],
        # Python values, not JSON ones: texts that are JSON already are sent as they are, whatever pydantic expects.
        type_encoders={BaseModel: lambda model: model.model_dump(warnings="none")},
        plugins=[PydanticPlugin(validate_strict=True)],  # "5" is not a number, and 1 is not a boolean
        openapi_config=openapi_config,
        logging_config=None,
    )


async def _allow_every_method(message: Message, scope: Scope) -> None:
    """Litestar answers OPTIONS with the methods of the first handler of a path only."""
    if message["type"] == "http.response.start" and scope.get("method") == "OPTIONS" and message["status"] == 204:
        routes = scope["litestar_app"].routes
        methods = {m for route in routes if route.path_format == scope["path_template"] for m in route.methods}
        headers = [(name, value) for name, value in message["headers"] if name.lower() != b"allow"]
        message["headers"] = [*headers, (b"allow", ", ".join(sorted(methods)).encode())]
