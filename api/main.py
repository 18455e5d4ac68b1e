"""Starts an API process from its environment."""

from __future__ import annotations

import hmac
import logging
import os
import sys
from asyncio import AbstractEventLoop, get_running_loop
from collections.abc import Callable
from functools import partial
from signal import SIGINT
from socket import socket
from types import FrameType

import uvicorn

from api.agents import Agents, Serve
from api.app import Parts, create_app
from api.http.admission import MIB, SHARE, Admission, Bounds, connections_possible
from api.http.connections import Guard, GuardedProtocol
from api.http.middleware import App, Edge
from api.invoking.waiting import Replies
from api.monitoring import Monitoring
from api.settings import Settings
from observing.admin import AdminPortError
from observing.events import ConfigurationWarning
from observing.logs import log_to_stderr
from observing.stream import emit
from support.sealing import SealingError
from support.settings import SettingsError, read_settings

GRACE_SECONDS = 5.0
LAST_SECONDS = 3
SHORT_KEY = 32


def main(serve_agents: Callable[[bytes], Serve] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit status. What serves agents is made with a key for their plans."""
    try:
        settings = read_settings(Settings, os.environ)
        parts = Parts.of(settings)
    except (SettingsError, SealingError) as error:
        print(f"The API cannot start. {error}", file=sys.stderr)
        return 2
    log_to_stderr(settings.log_format, settings.log_level)
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # what it tells, we log with its meaning
    if len(settings.jwt_secret_key) < SHORT_KEY:
        emit(ConfigurationWarning("JWT_SECRET_KEY", f"has fewer than {SHORT_KEY} characters: it can be guessed"))
    admission = _admission(settings)
    try:
        Server(
            _config(settings, parts, admission, serve_agents), parts.replies, Monitoring(settings, parts, admission)
        ).run()
    except (AdminPortError, PortError) as error:
        print(error, file=sys.stderr)
        return 1
    except SystemExit:  # it could not start, and has said why
        return 1
    return 0


def _config(
    settings: Settings, parts: Parts, admission: Admission, serve_agents: Callable[[bytes], Serve] | None
) -> uvicorn.Config:
    return uvicorn.Config(
        _app(settings, parts, serve_agents),
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http=partial(GuardedProtocol, guard=Guard(admission)),  # type: ignore[arg-type]
        ws="none",
        # Left to itself, the server believes X-Forwarded-For of 127.0.0.1, from where runs connect.
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies,
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=1024,
        timeout_keep_alive=75,  # longer than the usual proxy's, so that the proxy is the one to close
        timeout_graceful_shutdown=int(GRACE_SECONDS) + LAST_SECONDS,
    )


def _app(settings: Settings, parts: Parts, serve_agents: Callable[[bytes], Serve] | None) -> App:
    app = create_app(parts)
    if serve_agents is None:
        return Edge(app, parts.project_hosts)
    key = hmac.digest(settings.jwt_secret_key.encode(), b"plans of agents", "sha256")
    agents = Agents(app, Edge(app, parts.project_hosts), parts.access, partial(serve_agents, key))
    return Edge(agents, parts.project_hosts)


def _admission(settings: Settings) -> Admission:
    possible = connections_possible()
    connections = min(possible, settings.max_connections or possible)
    if settings.max_connections is not None and connections < settings.max_connections:
        problem = (
            f"is {settings.max_connections}, but the limit on open files leaves room for {connections}: "
            "raise it (ulimit -n)"
        )
        emit(ConfigurationWarning("ZMESH_MAX_CONNECTIONS", problem))
    bounds = Bounds(
        connections=connections,
        connections_of_address=settings.max_connections_per_address or max(1, connections // SHARE),
        upload_bytes=settings.max_upload_mb * MIB,
        upload_bytes_of_address=settings.max_upload_mb_per_address * MIB,
    )
    return Admission(bounds, settings.trusted_proxies)


class PortError(Exception):
    """The API's own port cannot be opened; the message says why."""


class Server(uvicorn.Server):
    """Announces its address. On shutdown, running calls get GRACE_SECONDS, then those that still wait get a 202."""

    def __init__(self, config: uvicorn.Config, replies: Replies, monitoring: Monitoring) -> None:
        super().__init__(config)
        self._replies = replies
        self._monitoring = monitoring
        self._loop: AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket] | None = None) -> None:
        self._loop = get_running_loop()
        await self._monitoring.start()  # first: where its port is taken, nothing else has to be undone
        try:
            await super().startup(sockets)
        except SystemExit as ended:  # how uvicorn gives up; it has logged the bare error of the system
            if isinstance(ended.__context__, OSError):
                raise PortError(self._why_not(ended.__context__)) from ended
            raise
        if self.started and self.servers:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            print(f"listening http://{f'[{host}]' if ':' in host else host}:{port}", flush=True)

    def _why_not(self, error: OSError) -> str:
        return (
            f"Cannot listen on ZMESH_HOST {self.config.host}, ZMESH_PORT {self.config.port}: "
            f"{os.strerror(error.errno) if error.errno else error}. "
            "Stop what uses the port, or set ZMESH_PORT to another (0 takes a free one)."
        )

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        await super().shutdown(sockets)
        self._monitoring.close()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Replaces uvicorn's handler, which would end the process by the signal, as if it had not been handled."""
        self.force_exit = self.should_exit and sig == SIGINT  # asked twice by a person
        self.should_exit = True
        self._monitoring.stop_being_ready()
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.call_later, GRACE_SECONDS, self._replies.release)


if __name__ == "__main__":
    sys.exit(main())
